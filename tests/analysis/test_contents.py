"""What was said, cut out of captured streams: split, joined, sent twice, out of order, and cut by the recorder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.analysis import analyze, write_vantages
from lab.analysis.capture_file import PcapngWriter
from lab.analysis.contents import read_contents
from lab.verdict.observe import Evidence, observe, query
from tests.pcaps.craft import Ladder
from tests.verdict.run_folder import make_run


@pytest.fixture
def ladder() -> Ladder:
    ladder = Ladder()
    ladder.handshake()
    return ladder


def a_run(folder: Path, ladder: Ladder, framing: str = "delimiter:\\n", snaplen: int = 65536) -> Path:
    """Write a run whose server host captured the ladder; its clients speak `framing`."""
    make_run(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["fleet"] = {"message": {"framing": framing}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "captures").mkdir()
    capture = folder / "captures" / "server.pcapng"
    with PcapngWriter(capture) as file:
        for t_ns, data in ladder.frames:
            file.packet(t_ns, data[:snaplen], original_bytes=len(data))
        file.statistics(ladder.frames[-1][0], received=len(ladder.frames), dropped=0)
    write_vantages({"server": analyze([capture])}, folder / "tables")
    return folder


def said(folder: Path, direction: str) -> list[str]:
    messages = read_contents(folder, ["server"]).messages
    return messages.filter(messages["direction"] == direction)["text"].to_list()


def test_messages_are_put_together_whatever_the_segments(tmp_path: Path, ladder: Ladder) -> None:
    ladder.a("PA", 1, ack=1, data=b"buy\nbu")
    ladder.a("PA", 7, ack=1, data=b"y\nbuy\n")
    ladder.b("PA", 1, ack=13, data=b"ticket 1\nticket 2\n")
    ladder.b("PA", 1, ack=13, data=b"ticket 1\nticket 2\n")  # sent again
    ladder.b("PA", 29, ack=13, data=b"4\n")  # before what belongs in front of it
    ladder.b("PA", 19, ack=13, data=b"ticket \xff 1")
    folder = a_run(tmp_path, ladder)

    assert said(folder, "orig") == ["buy", "buy", "buy"]
    assert said(folder, "resp") == ["ticket 1", "ticket 2", "ticket \\xff 14"]


def test_without_a_framing_a_segment_is_a_message(tmp_path: Path, ladder: Ladder) -> None:
    ladder.a("PA", 1, ack=1, data=b"one")
    ladder.b("PA", 1, ack=4, data=b"ONE")
    folder = a_run(tmp_path, ladder, framing="none")

    assert (said(folder, "orig"), said(folder, "resp")) == (["one"], ["ONE"])


def test_answers_are_counted_and_so_are_those_that_came_before(tmp_path: Path, ladder: Ladder) -> None:
    ladder.a("PA", 1, ack=1, data=b"buy\n" * 3)
    ladder.b("PA", 1, ack=13, data=b"ticket 1\nticket 2\nticket 1\n", after=5_000_000)
    evidence = Evidence.read(a_run(tmp_path, ladder))
    counts = {name: observe(f"answers.{name}", "server", evidence).value for name in ("all", "distinct", "repeated")}

    assert counts == {"all": 3, "distinct": 2, "repeated": 1}
    assert observe("span", "server", evidence).value == 5_000_000
    assert query("SELECT COUNT(*) FROM contents WHERE text = 'buy'", evidence).value == 3


def test_payload_that_the_recorder_cut_off_is_no_answer_and_makes_the_count_doubtful(
    tmp_path: Path, ladder: Ladder
) -> None:
    ladder.a("PA", 1, ack=1, data=b"buy\n")
    ladder.b("PA", 1, ack=5, data=b"ticket 1\nticket 2\n")
    seen = observe("answers.distinct", "server", Evidence.read(a_run(tmp_path, ladder, snaplen=66)))

    assert seen.doubt == "1 packets were cut by the snaplen: their content is not known"


def test_a_broken_framing_ends_its_stream(tmp_path: Path, ladder: Ladder) -> None:
    ladder.a("PA", 1, ack=1, data=b"\x00\x00\x00\x02hi\xff\xff\xff\xffmore")
    ladder.a("PA", 15, ack=1, data=b"\x00\x00\x00\x02ho")

    assert said(a_run(tmp_path, ladder, framing="length"), "orig") == ["hi"]
