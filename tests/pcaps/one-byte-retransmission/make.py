"""Crafted: one unacknowledged byte sent again is a retransmission, though it looks like a keep-alive."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"a")
ladder.a("PA", 1, ack=1, data=b"a", after=300_000_000)
ladder.b("A", 1, ack=2)
ladder.save(__file__)
