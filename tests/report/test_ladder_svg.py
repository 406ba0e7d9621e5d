"""The picture of a connection: well-formed, true in what it shows, complete in what it says."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from scripts import CLIENT, EXCHANGE, FIN4, HANDSHAKE, SERVER, walked

from lab.report.ladder_svg import draw_svg
from lab.report.steps import Endpoint

NAMES = {"svg": "http://www.w3.org/2000/svg"}


def parsed(*scripts: str, **options: int) -> ElementTree.Element:
    return ElementTree.fromstring(draw_svg(walked(*scripts), CLIENT, SERVER, **options))


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(node.itertext()) for node in root.findall(".//svg:text", NAMES)]


def test_every_segment_and_state_is_named():
    said = texts(parsed(HANDSHAKE, EXCHANGE, FIN4))
    for words in ("SYN seq 0 win 64240", "FIN+ACK seq 65 ack 65", "1.520 ms", "client-1", "10.64.0.2:9000"):
        assert words in said
    assert [word for word in said if word.isupper()] == [
        *("CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"),
        *("LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"),
    ]


def test_states_follow_one_another_down_the_lifeline_without_a_gap():
    bands = parsed(HANDSHAKE, EXCHANGE, FIN4).findall(".//svg:rect[@fill-opacity]", NAMES)[:6]
    for upper, lower in pairwise(bands):
        end = float(upper.attrib["y"]) + float(upper.attrib["height"])
        assert end == pytest.approx(float(lower.attrib["y"]), abs=0.2)


def test_pause_breaks_the_axis_and_is_told():
    assert "830 us" in texts(parsed(HANDSHAKE, EXCHANGE, FIN4))


def test_middle_of_a_long_connection_is_left_out_and_said():
    data = "".join(f"{300 + 10 * i} > PSH+ACK {65 + i} 65 1\n" for i in range(200))
    root = parsed(HANDSHAKE, EXCHANGE, data, most_steps=30)
    said = texts(root)
    assert sum(" seq " in word for word in said) == 30
    assert any(word.startswith("177 segments in ") for word in said)


def test_retransmission_is_dashed_and_named():
    root = parsed(HANDSHAKE, "100 > PSH+ACK 1 1 64\n200100 > PSH+ACK 1 1 64 again\n")
    assert len(root.findall(".//svg:path[@stroke-dasharray]", NAMES)) == 1
    assert "PSH+ACK seq 1 ack 1 len 64retransmission" in texts(root)


def test_names_are_escaped():
    host = Endpoint(host="<b>&", address="10.0.0.1", port=1)
    root = ElementTree.fromstring(draw_svg(walked(HANDSHAKE), host, SERVER))
    assert "<b>&" in texts(root)


def test_connection_without_segments_is_a_drawing_that_says_so():
    root = ElementTree.fromstring(draw_svg([], CLIENT, SERVER))
    assert texts(root) == ["no segment of this connection was captured"]
