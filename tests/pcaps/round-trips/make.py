"""Crafted: round trips of 1, 4 and 7 ms by the originator, one of 1 ms by the responder: number, least, mean."""

from tests.pcaps.craft import MILLISECOND, Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=4, after=4 * MILLISECOND)
ladder.a("PA", 4, ack=1, data=b"def")
ladder.b("A", 1, ack=7, after=7 * MILLISECOND)
ladder.save(__file__)
