"""Crafted: four segments, the first lost behind the vantage; three duplicate ACKs (RFC 5681)."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
for n in range(4):
    ladder.a("PA", 1 + 100 * n, ack=1, data=b"x" * 100)
for _ in range(3):
    ladder.b("A", 1, ack=1)
ladder.a("PA", 1, ack=1, data=b"x" * 100)
ladder.b("A", 1, ack=401)
ladder.save(__file__)
