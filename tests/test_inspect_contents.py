"""`lab inspect --contents`: what was said, as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ScenarioInvalid
from lab.inspect_contents import inspect_contents
from tests.analysis.test_contents import a_run
from tests.pcaps.craft import Ladder


@pytest.fixture
def ladder() -> Ladder:
    ladder = Ladder()
    ladder.handshake()
    ladder.a("PA", 1, ack=1, data=b"buy\n")
    ladder.b("PA", 1, ack=5, data=b"ticket 1\n", after=5_000_000)
    ladder.a("PA", 5, ack=10, data=b"\x1b[2J" + b"x" * 100 + b"\n")
    return ladder


def test_each_message_stands_on_a_line_with_its_time_side_and_text(tmp_path: Path, ladder: Ladder) -> None:
    data, text = inspect_contents(a_run(tmp_path, ladder), "server", connection=None, limit=20)
    lines = text.splitlines()

    assert lines[0] == "At server: 2 questions (->), 1 answers (<-), 3 different texts"
    assert lines[3:5] == ["    0.000           0 -> buy", "    5.000           0 <- ticket 1"]
    assert r"-> \x1b[2Jxxx" in lines[5], "a terminal obeys nothing that was captured"
    assert lines[5].endswith("... (104 characters)")
    assert [row["text"] for row in data][:2] == ["buy", "ticket 1"]


def test_a_limit_says_what_it_left_out(tmp_path: Path, ladder: Ladder) -> None:
    _data, text = inspect_contents(a_run(tmp_path, ladder), "server", connection=0, limit=1)

    assert text.splitlines()[-1].startswith("2 more: `--limit N`")


def test_a_capture_that_was_cut_before_the_payload_names_the_remedy(tmp_path: Path, ladder: Ladder) -> None:
    with pytest.raises(ScenarioInvalid, match="no message in captures/server") as caught:
        inspect_contents(a_run(tmp_path, ladder, snaplen=54), "server", connection=None, limit=20)

    assert "snaplen" in str(caught.value.problems[0].hint)
