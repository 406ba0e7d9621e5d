"""Sequence numbers of hand-made ends, worked out on paper."""

from __future__ import annotations

from lab.inside.script.endpoint import Endpoint, Segment

PEER = ("10.0.0.2", 9000)


def endpoint(first: int = 1000) -> Endpoint:
    return Endpoint(port=40000, peer=PEER, next_to_send=first)


def test_a_handshake_uses_one_number_each_way() -> None:
    end = endpoint()
    assert end.numbers("S", 0, 0, 0) == (1000, 0)
    end.take(Segment("SA", 7000, 1001, 0, 65535), PEER)
    assert end.numbers("A", 0, 0, 0) == (1001, 7001)
    assert end.numbers("PA", 0, 0, 10) == (1001, 7001)
    assert end.numbers("FA", 0, 0, 0) == (1011, 7001)
    assert end.numbers("A", 0, 0, 0) == (1012, 7001)


def test_numbers_wrap_around() -> None:
    end = endpoint((1 << 32) - 1)
    assert end.numbers("S", 0, 0, 0)[0] == (1 << 32) - 1
    assert end.numbers("A", 0, 0, 0)[0] == 0


def test_an_offset_repeats_a_number_and_uses_none_up() -> None:
    end = endpoint()
    end.numbers("S", 0, 0, 0)
    assert end.numbers("SA", -1, 0, 0)[0] == 1000
    assert end.numbers("A", 0, 0, 0)[0] == 1001


def test_a_reset_may_take_the_number_that_was_acknowledged() -> None:
    end = endpoint()
    end.take(Segment("A", 7000, 555, 0, 65535), PEER)
    assert end.numbers("R", "acked", 0, 0) == (555, 0)


def test_only_what_comes_in_order_is_acknowledged() -> None:
    end = endpoint()
    end.take(Segment("S", 7000, 0, 0, 65535), PEER)
    end.take(Segment("PA", 7011, 1000, 10, 65535), PEER)
    assert end.numbers("A", 0, 0, 0)[1] == 7001
    end.take(Segment("PA", 7001, 1000, 10, 65535), PEER)
    assert end.numbers("A", 0, -1, 0)[1] == 7010


def test_a_fin_is_found_behind_data_that_nobody_waited_for() -> None:
    end = endpoint()
    for segment in (Segment("PA", 1, 1, 5, 0), Segment("FPA", 6, 1, 0, 0), Segment("A", 7, 1, 0, 0)):
        end.take(segment, PEER)
    found = end.next_segment("FA", None)
    assert found is not None
    assert found.seq == 6
    assert end.next_segment("FA", None) is None


def test_a_strangers_segment_is_left_alone_and_the_first_sender_is_the_peer() -> None:
    end = Endpoint(port=9000, peer=None, next_to_send=1)
    end.take(Segment("S", 10, 0, 0, 0), PEER)
    end.take(Segment("R", 11, 0, 0, 0), ("10.0.0.3", 1))
    assert end.peer == PEER
    assert end.next_segment("R", None) is None
