"""Crafted: two duplicate ACKs are not three."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
for n in range(3):
    ladder.a("PA", 1 + 100 * n, ack=1, data=b"x" * 100)
for _ in range(2):
    ladder.b("A", 1, ack=1)
ladder.a("PA", 1, ack=1, data=b"x" * 100)
ladder.b("A", 1, ack=301)
ladder.save(__file__)
