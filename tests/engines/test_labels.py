from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab.engines import labels
from lab.engines.labels import Owner, in_use


def test_an_owner_survives_being_written_and_read() -> None:
    owner = Owner(machine="a/b", boot="c-d", pid=17, started="42")
    assert Owner.parse(str(owner)) == owner


@pytest.mark.parametrize("text", ["", "by hand", "a/b/c", "a/b/c/d"])
def test_what_is_no_owner_is_none(text: str) -> None:
    assert Owner.parse(text) is None


def test_this_process_is_alive() -> None:
    assert Owner.current().pid == os.getpid()
    assert Owner.current().alive()


@pytest.mark.parametrize("change", [{"boot": "another"}, {"started": "0"}, {"pid": 2**22 + 1}])
def test_a_process_of_an_earlier_boot_or_a_reused_process_id_is_dead(change: dict[str, object]) -> None:
    assert not replace(Owner.current(), **change).alive()  # type: ignore[arg-type]


def test_a_process_that_ended_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        owner = replace(Owner.current(), pid=child.pid, started=labels._started(child.pid) or "")
        assert owner.alive()
    assert not owner.alive()


def test_a_process_on_another_machine_counts_as_alive_for_it_cannot_be_asked() -> None:
    assert replace(Owner.current(), machine="elsewhere", pid=2**22 + 1).alive()


def test_a_run_is_in_use_while_its_owner_lives_or_after_it_was_left_on_purpose(tmp_path: Path) -> None:
    marks = labels.of_run(scenario="s", run_id="r", folder=tmp_path, owner=Owner.current())
    assert in_use(marks, running=False)
    marks[labels.OWNER] = str(replace(Owner.current(), started="0"))
    assert not in_use(marks, running=True)
    (tmp_path / labels.KEPT_MARK).touch()
    assert in_use(marks, running=False)


@pytest.mark.parametrize("running", [True, False])
def test_what_nobody_owns_is_in_use_while_it_runs(running: bool) -> None:
    assert in_use({labels.RUN: "by-hand"}, running=running) is running
