"""Crafted: the last segment was not captured, its acknowledgement was."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=10)
ladder.save(__file__)
