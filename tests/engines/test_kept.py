"""What a probe found is kept until something it depends on changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.engines.kept import CONDITIONS_KEPT, forget, kept, kept_file, mark


class Probe:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return {"answer": self.asked}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_same_conditions_give_the_answer_without_asking_again() -> None:
    probe = Probe()
    assert [kept("limits", ["kernel 6"], probe) for _ in range(3)] == [{"answer": 1}] * 3


def test_another_condition_or_forgetting_asks_anew() -> None:
    probe = Probe()
    kept("limits", ["kernel 6"], probe)
    assert kept("limits", ["kernel 7"], probe) == {"answer": 2}
    assert kept("limits", ["kernel 6"], probe) == {"answer": 1}
    forget("limits")
    assert kept("limits", ["kernel 7"], probe) == {"answer": 3}


def test_of_many_conditions_the_oldest_answer_goes() -> None:
    probe = Probe()
    for number in range(CONDITIONS_KEPT + 1):
        kept("limits", [number], probe)
    assert kept("limits", [1], probe) == {"answer": 2}
    assert kept("limits", [0], probe) == {"answer": CONDITIONS_KEPT + 2}


def test_a_broken_or_unwritable_cache_costs_a_probe_and_nothing_else(cache: Path) -> None:
    kept("limits", [], Probe())
    kept_file("limits").write_text("{ half")
    assert kept("limits", [], Probe()) == {"answer": 1}
    (cache / "wirelab" / "limits.json").unlink()
    (cache / "wirelab").rmdir()
    (cache / "wirelab").write_text("a file in the way of the folder")
    assert kept("limits", [], Probe()) == {"answer": 1}


def test_what_failed_is_not_kept() -> None:
    def fail() -> dict[str, Any]:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        kept("limits", [], fail)
    assert kept("limits", [], Probe()) == {"answer": 1}


def test_a_file_that_was_replaced_has_another_mark(tmp_path: Path) -> None:
    file = tmp_path / "program"
    assert mark(file) == mark(file)
    before = mark(file)
    file.write_text("one")
    first = mark(file)
    file.write_text("other")
    assert len({before, first, mark(file)}) == 3
