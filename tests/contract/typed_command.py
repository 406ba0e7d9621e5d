"""The `lab` command in the test's own process and folder: for what makes no host, where starting is all the cost."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.__main__ import main


@dataclass(frozen=True)
class Typed:
    """Call it with the command's arguments."""

    cwd: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command to its end; return exit code, standard output, standard error."""
        self.monkeypatch.setattr(sys, "argv", ["lab", *arguments])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        said = self.capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err
