"""The drawing: what a reader sees of a connection."""

from __future__ import annotations

import dataclasses

import pytest
from scripts import CLIENT, EXCHANGE, FIN3, FIN4, HANDSHAKE, SERVER, walked

from lab.report.ladder import draw
from lab.report.steps import Endpoint, Step


def drawn(*scripts: str, **options: int) -> str:
    return "\n" + "\n".join(draw(walked(*scripts), CLIENT, SERVER, width=92, **options)) + "\n"


def test_orderly_connection_from_syn_to_time_wait():
    assert drawn(HANDSHAKE, EXCHANGE, FIN4) == GOLDEN_FIN4


GOLDEN_FIN4 = """
  time ms     delta  client-1                                                 server
                     10.64.0.11:40001                                         10.64.0.2:9000
                     CLOSED                                                   LISTEN
    0.000            SYN-SENT      ── SYN seq 0 win 64240 ─────────────────>  SYN-RECEIVED
    0.020    +20 us  ESTABLISHED   <─ SYN-ACK seq 0 ack 1 win 64240 ────────  │
    0.050    +30 us  │             ── ACK seq 1 ack 1 len 0 ───────────────>  ESTABLISHED
    0.100    +50 us  │             ── PSH+ACK seq 1 ack 1 len 64 ──────────>  │
    0.120    +20 us  │             <─ ACK seq 1 ack 65 len 0 ───────────────  │
    0.150    +30 us  │             <─ PSH+ACK seq 1 ack 65 len 64 ──────────  │
    0.170    +20 us  │             ── ACK seq 65 ack 65 len 0 ─────────────>  │
    1.000   +830 us  FIN-WAIT-1    ── FIN+ACK seq 65 ack 65 ───────────────>  CLOSE-WAIT
    1.020    +20 us  FIN-WAIT-2    <─ ACK seq 65 ack 66 len 0 ──────────────  │
    1.500   +480 us  TIME-WAIT     <─ FIN+ACK seq 65 ack 66 ────────────────  LAST-ACK
    1.520    +20 us  │             ── ACK seq 66 ack 66 len 0 ─────────────>  CLOSED
"""


def test_retransmission_is_dotted_and_named_and_the_silence_before_it_told():
    again = "200100 > PSH+ACK 1 1 64 again\n200120 < ACK 1 65"
    assert drawn(HANDSHAKE, "100 > PSH+ACK 1 1 64\n", again) == GOLDEN_RETRANSMISSION


GOLDEN_RETRANSMISSION = """
  time ms     delta  client-1                                                 server
                     10.64.0.11:40001                                         10.64.0.2:9000
                     CLOSED                                                   LISTEN
    0.000            SYN-SENT      ── SYN seq 0 win 64240 ─────────────────>  SYN-RECEIVED
    0.020    +20 us  ESTABLISHED   <─ SYN-ACK seq 0 ack 1 win 64240 ────────  │
    0.050    +30 us  │             ── ACK seq 1 ack 1 len 0 ───────────────>  ESTABLISHED
    0.100    +50 us  │             ── PSH+ACK seq 1 ack 1 len 64 ──────────>  │
                     ⋮                         200 ms of silence              ⋮
  200.100   +200 ms  │             ╌╌ PSH+ACK seq 1 ack 1 len 64 ╌╌╌╌╌╌╌╌╌╌>  │
                     │                ^ retransmission                        │
  200.120    +20 us  │             <─ ACK seq 1 ack 65 len 0 ───────────────  │
"""


def test_gap_in_a_stream_is_marked_where_bytes_were_not_captured():
    gap = "100 > PSH+ACK 1 1 64\n120 > PSH+ACK 165 1 64\n140 > PSH+ACK 65 1 100\n"
    assert drawn(HANDSHAKE, gap) == GOLDEN_GAP


GOLDEN_GAP = """
  time ms     delta  client-1                                                 server
                     10.64.0.11:40001                                         10.64.0.2:9000
                     CLOSED                                                   LISTEN
    0.000            SYN-SENT      ── SYN seq 0 win 64240 ─────────────────>  SYN-RECEIVED
    0.020    +20 us  ESTABLISHED   <─ SYN-ACK seq 0 ack 1 win 64240 ────────  │
    0.050    +30 us  │             ── ACK seq 1 ack 1 len 0 ───────────────>  ESTABLISHED
    0.100    +50 us  │             ── PSH+ACK seq 1 ack 1 len 64 ──────────>  │
    0.120    +20 us  │             ── PSH+ACK seq 165 ack 1 len 64 ────────>  │
                     │                ^ gap: 100 B not seen before it         │
    0.140    +20 us  │             ── PSH+ACK seq 65 ack 1 len 100 ────────>  │
"""


def test_middle_of_a_long_connection_is_left_out_and_said():
    assert drawn(HANDSHAKE, EXCHANGE, FIN3, most_steps=6) == GOLDEN_SHORT


GOLDEN_SHORT = """
  time ms     delta  client-1                                                 server
                     10.64.0.11:40001                                         10.64.0.2:9000
                     CLOSED                                                   LISTEN
    0.000            SYN-SENT      ── SYN seq 0 win 64240 ─────────────────>  SYN-RECEIVED
    0.020    +20 us  ESTABLISHED   <─ SYN-ACK seq 0 ack 1 win 64240 ────────  │
    0.050    +30 us  │             ── ACK seq 1 ack 1 len 0 ───────────────>  ESTABLISHED
    0.100    +50 us  │             ── PSH+ACK seq 1 ack 1 len 64 ──────────>  │
                     ⋮               4 segments left out, 64 B of payload     ⋮
    1.020    +20 us  TIME-WAIT     <─ FIN+ACK seq 65 ack 66 ────────────────  LAST-ACK
    1.040    +20 us  │             ── ACK seq 66 ack 66 len 0 ─────────────>  CLOSED
"""


def test_state_changed_among_the_segments_left_out_is_told_at_the_next_one():
    half_closed = "".join(f"{2000 + 10 * i} < PSH+ACK {65 + 10 * i} 66 10\n" for i in range(20))
    fin = "1000 > FIN+ACK 65 65\n1020 < ACK 65 66\n"
    after_the_middle = drawn(HANDSHAKE, EXCHANGE, fin, half_closed, most_steps=6).splitlines()[-2]
    assert "FIN-WAIT-2" in after_the_middle
    assert "CLOSE-WAIT" in after_the_middle


def test_crossing_fins_show_both_states_of_one_row():
    script = "1000 > FIN+ACK 65 65\n1005 < FIN+ACK 65 65\n1030 > ACK 66 66\n1035 < ACK 66 66\n"
    assert drawn(HANDSHAKE, EXCHANGE, script).splitlines()[-5:] == [
        "    1.000   +830 us  FIN-WAIT-1    ── FIN+ACK seq 65 ack 65 ───────────────>  │",
        "    1.005     +5 us  CLOSING       <─ FIN+ACK seq 65 ack 65 ────────────────  FIN-WAIT-1",
        "                     │                                                        CLOSING",
        "    1.030    +25 us  │             ── ACK seq 66 ack 66 len 0 ─────────────>  TIME-WAIT",
        "    1.035     +5 us  TIME-WAIT     <─ ACK seq 66 ack 66 len 0 ──────────────  │",
    ]


def test_options_of_the_handshake_stand_below_its_arrow():
    first, *rest = walked(HANDSHAKE)
    steps = [dataclasses.replace(first, options="mss 1460, sack"), *rest]
    lines = draw(steps, CLIENT, SERVER, width=92)
    assert lines[4] == "                     │                mss 1460, sack                          │"


def test_narrow_drawing_leaves_out_the_delta_and_keeps_every_number():
    first, *rest = walked(HANDSHAKE, "100 > PSH+ACK 1000001 1 1448\n")
    steps = [dataclasses.replace(first, options="mss 1460, sack, timestamps, wscale 10"), *rest]
    assert "\n" + "\n".join(draw(steps, CLIENT, SERVER, width=72)) + "\n" == GOLDEN_NARROW


GOLDEN_NARROW = """
  time ms  client-1                                       server
           10.64.0.11:40001                               10.64.0.2:9000
           CLOSED                                         LISTEN
    0.000  SYN-SENT      ── SYN seq 0 win 64240 ───────>  SYN-RECEIVED
           │                mss 1460, sack, timestamps,   │
           │                wscale 10                     │
    0.020  ESTABLISHED   <─ SYN-ACK ────────────────────  │
           │                  seq 0 ack 1 win 64240       │
    0.050  │             ── ACK seq 1 ack 1 len 0 ─────>  ESTABLISHED
    0.100  │             ── PSH+ACK ───────────────────>  │
           │                seq 1000001 ack 1 len 1448    │
           │                ^ gap: 977 KiB not seen       │
           │                before it                     │
"""


@pytest.mark.parametrize("width", [72, 80, 92, 100, 140])
def test_no_line_is_wider_than_asked(width: int):
    steps = walked(HANDSHAKE, EXCHANGE, FIN4)
    assert max(map(len, draw(steps, CLIENT, SERVER, width=width))) <= width


def test_unknown_address_is_drawn_without_a_host_name():
    elsewhere = Endpoint(host="", address="2001:db8::7", port=443)
    lines = draw(walked(HANDSHAKE), elsewhere, dataclasses.replace(SERVER, host=""), width=92)
    assert lines[0].split() == ["time", "ms", "delta", "[2001:db8::7]:443", "10.64.0.2:9000"]


def test_connection_without_segments_says_so():
    assert draw([], CLIENT, SERVER) == ["no segment of this connection was captured"]


def test_long_connection_is_told_in_seconds():
    early = Step(t_ns=0, direction="orig", flags=16, seq=1, ack=1, payload_bytes=0, window=1)
    lines = draw([early, dataclasses.replace(early, t_ns=7_200_000_000_000)], CLIENT, SERVER)
    assert lines[0].startswith("   time s")
    assert lines[-1].startswith(" 7200.000  +7,200 s") or lines[-1].startswith(" 7200.000   +7200 s")
