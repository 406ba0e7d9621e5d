"""The errors a user may meet, each with its exit code and a hint.

    LabError                  1   something the lab was asked to do failed
    ├── ScenarioInvalid       2   the scenario, an option or a file given by the user is wrong
    ├── MachineLacks          3   this machine cannot do it: what is missing, and the remedy
    ├── RunFailed             1   hosts or programs failed while the lab ran
    ├── CaptureFileBroken     1   a capture file cannot be read further: the byte offset says where
    │   └── NotACapture       2   a file that is no capture at all
    └── TeardownIncomplete    5   something the lab created could not be removed

A verdict of `fail` exits 1 and of `unknown` exits 4 without an exception: they are results, not errors.
Messages read `<where>: <what is wrong>, got <value>; <what is allowed>`; the remedy stands apart, in `hint`.
"""

from __future__ import annotations

from dataclasses import dataclass

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_INVALID = 2
EXIT_MACHINE_LACKS = 3
EXIT_UNKNOWN = 4
EXIT_TEARDOWN_INCOMPLETE = 5
EXIT_INTERRUPTED = 130

VERDICT_EXIT_CODES = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "unknown": EXIT_UNKNOWN}


class LabError(Exception):
    """The root: `str(error)` is one line for the user, `hint` what to do about it (or None)."""

    exit_code = EXIT_FAIL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One thing wrong in a file the user wrote."""

    file: str
    line: int
    """0 where no line of a file is wrong, but an option or the file as a whole."""
    key: str
    """Dotted path of the key, e.g. `fleet.connections`; empty for the file as a whole."""
    what: str
    """What is wrong, what was got, what is allowed."""
    hint: str | None = None

    def __str__(self) -> str:
        key = f" {self.key}:" if self.key else ""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        line = f"{self.line}:" if self.line else ""
        return f"{self.file}:{line}{key} {self.what}{hint}"


class ScenarioInvalid(LabError):
    """All that is wrong with what the user gave, at once, in the order of the file."""

    exit_code = EXIT_INVALID

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems


class MachineLacks(LabError):
    exit_code = EXIT_MACHINE_LACKS


class RunFailed(LabError):
    pass


class CaptureFileBroken(LabError):
    """A capture file that is cut or damaged; `offset` is the byte where reading had to end."""

    def __init__(self, message: str, *, offset: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class NotACapture(CaptureFileBroken):
    """A file that does not begin as any capture does."""

    exit_code = EXIT_INVALID


class TeardownIncomplete(LabError):
    exit_code = EXIT_TEARDOWN_INCOMPLETE
