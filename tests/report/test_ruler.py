"""The ruler of a stream: what stands where, in the terminal and as SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from lab.analysis.boundary_tables import boundary_tables
from lab.report.ruler import Ruler, draw, draw_svg, ruler, table_lines
from tests.analysis.boundary_case import client_log, ladder, server_log, write_run


@pytest.fixture
def tables(tmp_path: Path) -> dict:
    return boundary_tables(write_run(tmp_path, client=client_log(), server=server_log(), wire=ladder()))


@pytest.fixture
def request_stream(tables: dict) -> Ruler:
    return ruler(tables["messages"], tables["units"], 0)


def test_four_rows_stand_on_one_axis_with_joins_and_cuts_marked(request_stream: Ruler) -> None:
    lines = draw(request_stream, width=120)
    assert lines[0] == "stream 0: client:40000 -> server:80 (tcp), 6 messages, 3,450 bytes"
    assert lines[1].split() == ["offset", "0", "100", "200", "300", "1324", "1760", "3220", "3300", "3400", "3450"]
    assert [line.split()[0] for line in lines[2:]] == ["messages", "sends", "segments", "recvs"]
    assert lines[4].startswith("segments  |─ 100 ──|═ 200 coalesced ═|╌╌╌ 1460 split ╌╌|╌ 1460 ╌|═════ 230 coalesced")
    assert lines[5].startswith("recvs     |─ 100 ──|═ 200 coalesced ═|╌ 1024 ╌|╌╌╌ 1896 split ╌╌|═════ 230 coalesced")


def test_a_narrow_ruler_goes_on_in_the_next_band(request_stream: Ruler) -> None:
    lines = draw(request_stream, width=60)
    assert all(len(line) <= 66 for line in lines)
    assert sum(line.startswith("offset") for line in lines) == 3
    assert any(">" in line for line in lines[2:]), "a unit that goes on beyond its band says so"


def test_the_svg_is_well_formed_and_has_a_box_for_every_unit(request_stream: Ruler) -> None:
    root = ElementTree.fromstring(draw_svg(request_stream))
    boxes = [one for one in root.iter() if one.tag.endswith("rect")]
    assert len(boxes) == sum(len(bars) for bars in request_stream.rows.values()) == 6 + 5 + 5 + 5
    assert sum("orange" in box.get("class", "") for box in boxes) == 1 + 2 + 2


def test_the_table_counts_messages_and_names_causes(tables: dict) -> None:
    lines = table_lines(tables["messages"])
    assert lines[2].split() == ["aligned", "1", "2", "0", "0"]
    assert lines[3].split() == ["coalesced", "0", "4", "0", "0"]
    assert lines[5].split() == ["coalesced+split", "0", "0", "0", "1"]
    assert lines[-1] == "misread by the receiver: 7 of 8"


def test_lost_doubled_and_overtaken_datagrams_are_told() -> None:
    stream = {"stream": 0, "sender": "a", "receiver": "b", "sender_port": 1, "receiver_port": 2, "protocol": "udp"}
    messages = [
        {**stream, "message": n, "start": 100 * n, "end": 100 * (n + 1), "recvs": recvs}
        for n, recvs in enumerate([1, 1, 0, 2])
    ]
    came = [1, 0, 3, 3]
    units = [
        {
            **stream,
            "unit": "recv",
            "number": place,
            "start": 100 * n,
            "end": 100 * (n + 1),
            "class": "aligned",
            "first_message": n,
        }
        for place, n in enumerate(came)
    ]
    laid = ruler(pl.DataFrame(messages), pl.DataFrame(units), 0)
    lines = draw(laid)
    assert lines[3] == "recvs     |─ 100 ──|─ 100 ──|× lost ×| 100 x2 |"
    assert lines[-1] == "came in the order #1 #0 #3 #3"
    assert "segments" not in "".join(lines), "a row of which nothing is known is left out"
    assert lines[-1] in "".join(ElementTree.fromstring(draw_svg(laid)).itertext())
