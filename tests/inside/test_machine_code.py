"""Texts become machine code once, and hosts take no code but what was made of the very text they have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.engines import machine_code as maker
from lab.inside import machine_code


@pytest.fixture(params=maker.LOOPS, ids=lambda loop: loop.function.__name__)
def loop(request: pytest.FixtureRequest, machine_code_made: None) -> maker.Loop:
    """Each loop that is compiled."""
    made: maker.Loop = request.param
    return made


def load(loop: maker.Loop) -> object:
    return machine_code.load(*loop.files, calls=(), arguments=len(loop.takes))


def test_code_made_of_another_text_is_not_taken(
    loop: maker.Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / loop.code.name
    data = bytearray(loop.code.read_bytes())
    data[8] ^= 1
    copy.write_bytes(data)
    assert load(loop)
    monkeypatch.setattr(machine_code, "code_file", lambda _text, _processor: str(copy))
    with pytest.raises(machine_code.NoCode, match="another text"):
        load(loop)
    copy.unlink()
    with pytest.raises(machine_code.NoCode, match="left none"):
        load(loop)


def test_it_can_be_switched_off(loop: maker.Loop) -> None:
    code = f"from lab.inside import machine_code as m; m.load({str(loop.files[0])!r}, calls=(), arguments=1)"
    ended = subprocess.run(
        [sys.executable, "-c", code], env={machine_code.SWITCH: "off"}, capture_output=True, text=True, check=False
    )
    assert f"NoCode: {machine_code.SWITCH}=off" in ended.stderr


def test_code_is_made_once(loop: maker.Loop) -> None:
    said: list[str] = []
    before = loop.code.stat().st_mtime_ns
    assert maker.ensure_machine_code(said.append)
    assert (loop.code.stat().st_mtime_ns, said) == (before, [])


def test_code_that_refers_to_something_is_refused() -> None:
    """A constant table lies outside of the code that reads it."""

    def table(_calls: object, it: list[int]) -> None:
        it[0] = (3, 1, 4, 1, 5, 9, 2, 6)[it[1]]

    with pytest.raises(RuntimeError, match="table: its code refers to something outside"):
        maker.compiled(maker.Loop(table, (__file__,), "q", lambda _machine: None), maker.processor())
