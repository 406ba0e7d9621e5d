"""Crafted: the capture ends while the connection is open."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"x")
ladder.b("A", 1, ack=2)
ladder.save(__file__)
