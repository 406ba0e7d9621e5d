"""Calling a function of a C library, and lending it memory, by the C half of `ctypes`.

What the keeper and the capture sidecar want of C is six functions. Importing `ctypes` for them defines some seventy
types and costs half as much as starting the interpreter (`lifecycle.py` has the figures); `_ctypes` underneath costs a
tenth of that. Programs that want more (structures, callbacks) take `ctypes`.
"""

from __future__ import annotations

from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_USE_ERRNO,
    Array,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Int", "Library", "Memory", "Pointer", "function_at", "get_errno"]

_RTLD_NOW = 2


class Int(_SimpleCData):  # type: ignore[type-arg]
    """`int` and `unsigned int`, of which only the bits go over."""

    _type_ = "i"


class Pointer(_SimpleCData):  # type: ignore[type-arg]
    """A pointer to anything: an address, bytes (which C must not change), or None."""

    _type_ = "P"


class _Char(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _ToInt(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Int


class _ToPointer(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = Pointer


class Library:
    """A shared library; None: the C library, which is loaded anyway."""

    def __init__(self, name: str | None) -> None:
        """Load it. Raises OSError where it is not, or does not load."""
        self._handle = dlopen(name, _RTLD_NOW)  # type: ignore[arg-type]  # by this name CFuncPtr looks for it

    def function(self, name: str, *takes: type[Any], gives: type[Any] = Int) -> Any:
        """The function of that name. Raises AttributeError where the library has none."""
        made: Any = (_ToPointer if gives is Pointer else _ToInt)((name, self))  # type: ignore[arg-type]
        made.argtypes = takes
        return made

    def address(self, name: str) -> int:
        """Where the function of that name is. Raises OSError where the library has none."""
        found: int = dlsym(self._handle, name)
        return found


def function_at(address: int, *takes: type[Any]) -> Any:
    """The function at an address, which gives an int."""
    made: Any = _ToInt(address)
    made.argtypes = takes
    return made


class Memory:
    """Bytes at an address that C may read and write; there as long as this object is."""

    def __init__(self, content: bytes) -> None:
        kind: Any = type("Bytes", (Array,), {"_type_": _Char, "_length_": len(content)})
        self._bytes = kind.from_buffer_copy(content)
        self.address: int = addressof(self._bytes)

    @classmethod
    def of(cls, buffer: Any) -> Memory:
        """The memory of an object that lends it (an array, a mapping), not a copy of it."""
        self = cls.__new__(cls)
        with memoryview(buffer) as view:
            kind: Any = type("Bytes", (Array,), {"_type_": _Char, "_length_": view.nbytes})
        self._bytes = kind.from_buffer(buffer)
        self.address = addressof(self._bytes)
        return self

    def read(self) -> bytes:
        """What they are now."""
        return bytes(self._bytes)
