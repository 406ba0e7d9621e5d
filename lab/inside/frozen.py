"""Frozen, keyword-only records for programs in hosts: what `dataclasses` offers, without its import.

`dataclasses` loads `inspect`, `ast`, `dis`, `re` and more: three times what starting the interpreter costs
(`lifecycle.py` has the figures), in every server and every fleet host. To the type checker these are dataclasses.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True, kw_only_default=True)
    def frozen(cls: type[T]) -> type[T]: ...

else:

    def frozen(cls):
        """Make a class of annotated fields, some with defaults, a record."""
        fields = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in fields if name in cls.__dict__}
        needed, known = set(fields) - defaults.keys(), set(fields)

        def initialise(self, **given):
            if not needed <= given.keys() <= known:
                missing, unknown = sorted(needed - given.keys()), sorted(given.keys() - known)
                raise TypeError(f"{cls.__name__}: missing {missing}, unknown {unknown}; fields are {list(fields)}")
            self.__dict__.update(defaults)
            self.__dict__.update(given)

        def refuse(self, name, *_value):
            raise AttributeError(f"{cls.__name__} is frozen: {name} stays as it is")

        cls.__init__ = initialise
        cls.__setattr__ = cls.__delattr__ = refuse
        cls.__eq__ = lambda self, other: type(other) is cls and self.__dict__ == other.__dict__
        cls.__hash__ = lambda self: hash(tuple(self.__dict__[name] for name in fields))
        cls.__repr__ = lambda self: f"{cls.__name__}({', '.join(f'{n}={self.__dict__[n]!r}' for n in fields)})"
        cls.__match_args__ = ()
        return cls


def names(record: Any) -> tuple[str, ...]:
    """The fields of a record, or of its class, in order."""
    return tuple(record.__annotations__)


def as_dict(record: Any) -> dict[str, Any]:
    """The fields and their values, in order."""
    return {name: getattr(record, name) for name in names(record)}
