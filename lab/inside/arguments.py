"""The options of a command line, for programs that must be there at once.

`argparse` costs as much as the interpreter itself (`lifecycle.py` has the figures), and what the keeper, the capture
sidecar and the servers take is little: `--name VALUE`, `--name=VALUE`, switches, and options that may be repeated.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

EXIT_INVALID = 2


class Option:
    """One option: what its value must be, and what holds without it."""

    def __init__(
        self,
        name: str,
        help: str,
        *,
        read: Callable[[str], Any] | None = str,
        default: Any = None,
        repeat: bool = False,
        required: bool = False,
    ) -> None:
        """`read` makes the value of its text and raises ValueError with what is allowed; None: a switch. A repeated
        one gives a list."""
        self.name = name
        self.help = help
        self.read = read
        self.default = [] if repeat else False if read is None else default
        self.repeat = repeat
        self.required = required


def read_arguments(program: str, does: str, options: list[Option], given: list[str] | None) -> dict[str, Any]:
    """Read `given` (None: this process's arguments); by option, without the dashes and with `_` for `-`.

    Ends the process for `--help` (exit code 0) and for what is wrong (exit code 2).
    """
    words = list(sys.argv[1:] if given is None else given)
    known = {f"--{option.name}": option for option in options}
    values: dict[str, Any] = {
        name: [] if option.repeat else option.default for name, option in known.items() if not option.required
    }
    while words:
        name, equals, value = words.pop(0).partition("=")
        if name in ("-h", "--help"):
            posix.write(1, _help(program, does, options).encode())
            posix._exit(0)
        if name not in known:
            refuse(program, f"{name}: unknown; known are {', '.join(known)}")
        option = known[name]
        if option.read is None:
            values[name] = True
            continue
        if not equals:
            if not words:
                refuse(program, f"{name}: a value is needed, got none")
            value = words.pop(0)
        try:
            read = option.read(value)
        except ValueError as error:
            refuse(program, f"{name}: {error}")
        if option.repeat:
            values.setdefault(name, []).append(read)
        else:
            values[name] = read
    if missing := [name for name in known if name not in values]:
        refuse(program, f"{', '.join(missing)}: missing; needed")
    return {name[2:].replace("-", "_"): value for name, value in values.items()}


def number(least: int) -> Callable[[str], int]:
    """Read a whole number of at least `least`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ValueError(f"a whole number of at least {least} is needed, got {text!r}")
        return value

    return read


def seconds(least: float) -> Callable[[str], float]:
    """Read a time in seconds, of at least `least`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value < float("inf"):
            raise ValueError(f"a time in seconds of at least {least} is needed, got {text!r}")
        return value

    return read


def one_of(*allowed: str) -> Callable[[str], str]:
    """Read one of these words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"allowed are {', '.join(allowed)}, got {text!r}")
        return text

    return read


def _help(program: str, does: str, options: list[Option]) -> str:
    lines = [f"usage: python -m lab.inside.{program} [options]", "", does, ""]
    for option in options:
        shown = f"--{option.name}" + ("" if option.read is None else " VALUE")
        notes = [option.help]
        notes += ["needed"] if option.required else []
        notes += ["may be repeated"] if option.repeat else []
        notes += [f"else {option.default}"] if option.default not in (None, False, [], "") else []
        lines.append(f"  {shown:<24} {'; '.join(notes)}")
    return "\n".join(lines) + "\n"


def refuse(program: str, what: str) -> NoReturn:
    """End the process for wrong usage: what is wrong, on standard error, and exit code 2."""
    posix.write(2, f"{program}: {what}\nhint: --help shows all options\n".encode())
    posix._exit(EXIT_INVALID)
