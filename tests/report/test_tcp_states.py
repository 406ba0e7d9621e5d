"""Both ends of a connection walk through the states that RFC 9293 gives them, as far as the capture proves it."""

from __future__ import annotations

import pytest
from scripts import EXCHANGE, FIN3, FIN4, HANDSHAKE, walked

from lab.report.tcp_states import CLOSED, LISTEN, TABLE, Event, after, initial, walk


def ladder_of_states(*scripts: str) -> str:
    """One line a change, with the control bits of the segment that made it: what the tests compare."""
    steps = walked(*scripts)
    lines = ["{} | {}".format(*initial(steps))]
    for step, now in zip(steps, walk(steps), strict=True):
        if now.orig_changes or now.resp_changes:
            arrow = ">" if step.direction == "orig" else "<"
            left, right = (" ".join(changes) or "-" for changes in (now.orig_changes, now.resp_changes))
            lines.append(f"{arrow} {left} | {right}")
    return "\n".join(lines)


OPENED = """\
CLOSED | LISTEN
> SYN-SENT | SYN-RECEIVED
< ESTABLISHED | -
> - | ESTABLISHED"""


def test_three_way_handshake_is_figure_6():
    assert ladder_of_states(HANDSHAKE, EXCHANGE) == OPENED


def test_close_by_four_segments_is_figure_12():
    assert ladder_of_states(HANDSHAKE, EXCHANGE, FIN4) == (
        OPENED
        + """
> FIN-WAIT-1 | CLOSE-WAIT
< FIN-WAIT-2 | -
< TIME-WAIT | LAST-ACK
> - | CLOSED"""
    )


def test_close_by_three_segments_skips_fin_wait_2():
    assert ladder_of_states(HANDSHAKE, EXCHANGE, FIN3) == (
        OPENED
        + """
> FIN-WAIT-1 | CLOSE-WAIT
< TIME-WAIT | LAST-ACK
> - | CLOSED"""
    )


def test_server_that_closes_first_keeps_the_time_wait():
    script = """
    1000 < FIN+ACK 65 65
    1020 > ACK     65 66
    1500 > FIN+ACK 65 66
    1520 < ACK     66 66
    """
    assert ladder_of_states(HANDSHAKE, EXCHANGE, script) == (
        OPENED
        + """
< CLOSE-WAIT | FIN-WAIT-1
> - | FIN-WAIT-2
> LAST-ACK | TIME-WAIT
< CLOSED | -"""
    )


def test_fins_that_cross_lead_both_ends_through_closing_as_figure_13():
    script = """
    1000 > FIN+ACK 65 65
    1005 < FIN+ACK 65 65
    1030 > ACK     66 66
    1035 < ACK     66 66
    """
    assert ladder_of_states(HANDSHAKE, EXCHANGE, script) == (
        OPENED
        + """
> FIN-WAIT-1 | -
< CLOSING | FIN-WAIT-1 CLOSING
> - | TIME-WAIT
< TIME-WAIT | -"""
    )


def test_syns_that_cross_open_the_connection_as_figure_7():
    script = """
       0 > SYN      0 -
       5 < SYN      0 -
      20 > SYN-ACK  0 1
      25 < SYN-ACK  0 1
      40 > ACK      1 1
    """
    assert ladder_of_states(script) == (
        """\
CLOSED | CLOSED
> SYN-SENT | -
< SYN-RECEIVED | SYN-SENT SYN-RECEIVED
> - | ESTABLISHED
< ESTABLISHED | -"""
    )


def test_half_close_rests_in_fin_wait_2_while_the_other_side_goes_on():
    script = """
    1000 > FIN+ACK 65 65
    1020 < ACK     65 66
    2000 < PSH+ACK 65 66 500
    2020 > ACK     66 565
    """
    assert ladder_of_states(HANDSHAKE, EXCHANGE, script) == (
        OPENED
        + """
> FIN-WAIT-1 | CLOSE-WAIT
< FIN-WAIT-2 | -"""
    )


def test_reset_closes_both_ends_at_once_without_time_wait():
    assert ladder_of_states(HANDSHAKE, EXCHANGE, "1000 > RST+ACK 65 65") == OPENED + "\n> CLOSED | CLOSED"


def test_refused_connection_was_never_listened_for():
    script = """
       0 > SYN      0 -
      20 < RST+ACK  0 1
    """
    assert ladder_of_states(script) == "CLOSED | CLOSED\n> SYN-SENT | -\n< CLOSED | -"


def test_syn_without_answer_proves_nothing_of_the_other_side():
    script = """
          0 > SYN      0 -
    1000000 > SYN      0 - 0 again
    """
    assert ladder_of_states(script) == "CLOSED | ?\n> SYN-SENT | -"


def test_repeated_syn_counts_as_heard_in_its_last_copy():
    script = """
          0 > SYN      0 -
    1000000 > SYN      0 - 0 again
    1000020 < SYN-ACK  0 1
    1000050 > ACK      1 1
    """
    first, second, *_ = walk(walked(script))
    assert (first.resp, second.resp) == (LISTEN, "SYN-RECEIVED")


def test_fin_that_is_never_acknowledged_does_not_move_its_receiver():
    assert ladder_of_states(HANDSHAKE, EXCHANGE, "1000 > FIN+ACK 65 65") == OPENED + "\n> FIN-WAIT-1 | -"


def test_data_sent_before_the_fin_was_heard_delays_close_wait_to_it():
    script = """
    1000 > FIN+ACK 65 65
    1010 < PSH+ACK 65 65 100
    1030 < ACK     165 66
    """
    assert ladder_of_states(HANDSHAKE, EXCHANGE, script) == (
        OPENED
        + """
> FIN-WAIT-1 | -
< - | CLOSE-WAIT
< FIN-WAIT-2 | -"""
    )


def test_acknowledgement_of_what_was_never_sent_opens_nothing():
    script = """
       0 > SYN      0 -
      20 < SYN-ACK  0 777
      50 > RST    777 -
    """
    assert ladder_of_states(script) == "CLOSED | LISTEN\n> SYN-SENT | SYN-RECEIVED\n> CLOSED | CLOSED"


def test_connection_that_began_before_the_capture_is_established():
    assert initial(walked(EXCHANGE)) == ("ESTABLISHED", "ESTABLISHED")


def test_server_may_close_before_it_hears_the_third_segment():
    script = """
       0 > SYN      0 -
      20 < SYN-ACK  0 1
      25 < FIN+ACK  1 1
      50 > ACK      1 1
      60 > ACK      1 2
    """
    assert ladder_of_states(script) == (
        """\
CLOSED | LISTEN
> SYN-SENT | SYN-RECEIVED
< ESTABLISHED | -
< - | FIN-WAIT-1
> CLOSE-WAIT | -
> - | FIN-WAIT-2"""
    )


def test_fin_in_syn_received_is_heard_as_in_established():
    assert after("SYN-RECEIVED", Event.HEAR_FIN) == "CLOSE-WAIT"


@pytest.mark.parametrize("event", [Event.HEAR_RST, Event.SEND_RST])
def test_reset_leaves_a_listening_socket_alone(event: Event):
    assert after(LISTEN, event) == LISTEN


def test_every_arc_leads_to_a_state_that_the_table_can_leave_or_that_ends_a_connection():
    leads_to = set(TABLE.values())
    can_be_left = {state for state, _ in TABLE}
    assert leads_to - can_be_left == {CLOSED, "TIME-WAIT"} - can_be_left
