from __future__ import annotations

from pathlib import Path

import pytest
from typed_command import Typed


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """The command in this process, in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return Typed(tmp_path, monkeypatch, capsys)
