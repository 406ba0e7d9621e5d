"""The boundary log keeps what a program noted, in the order that the reader of it counts on."""

from __future__ import annotations

from lab.inside.boundary_log import BoundaryLog


def test_datagrams_that_threads_note_late_stand_in_the_order_their_calls_began():
    log = BoundaryLog(1).open("udp", ("10.0.0.2", 9000), None)
    assert log is not None
    for number, begin_ns in ((1, 20), (0, 10), (2, 30)):
        log.send(16, 16, begin_ns, begin_ns + 100, 16, number)
    assert [call[7] for call in log.as_json()["calls"]] == [0, 1, 2]
