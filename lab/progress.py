"""Progress on standard error: one calm line that changes in a terminal, few lasting lines elsewhere.

Standard output stays clean for data.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.status import Status

PLAIN_INTERVAL_S = 5.0
"""Without a terminal, the state of a long stage is written this often."""


class Progress:
    """Tells what the lab is doing. Use as a context manager, so that the terminal is left clean."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=quiet)
        self._live = self.console.is_terminal and not quiet
        self._status: Status | None = None
        self.prefix = ""
        """Stands before every stage: which run of a series it belongs to."""
        self._stage = ""
        self._started = time.monotonic()
        self._last_plain = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _clock(self) -> str:
        return f"{time.monotonic() - self._started:6.1f} s"

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.console.print(f"[dim]{self._clock()}[/dim]  ", line, sep="", markup=True, soft_wrap=True)

    def stage(self, name: str) -> None:
        """Begin a stage: in a terminal it replaces the line of the stage before."""
        name = self.prefix + name
        self._stage = name
        self._last_plain = time.monotonic()
        if not self._live:
            self.say(name)
        elif self._status is None:
            self._status = self.console.status(name)
            self._status.start()
        else:
            self._status.update(name)

    def update(self, detail: str) -> None:
        """Tell how far the stage is."""
        if self._status is not None:
            self._status.update(f"{self._stage}: {detail}")
        elif time.monotonic() - self._last_plain >= PLAIN_INTERVAL_S:
            self._last_plain = time.monotonic()
            self.say(f"{self._stage}: {detail}")
