"""Crafted: the receiver closes its window; probes of both styles; it opens again."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=4, window=0)
ladder.a("A", 3, ack=1, after=200_000_000)
ladder.b("A", 1, ack=4, window=0)
ladder.a("PA", 4, ack=1, data=b"d", after=400_000_000)
ladder.b("A", 1, ack=4, window=0)
ladder.b("A", 1, ack=4, window=8192)
ladder.a("PA", 4, ack=1, data=b"def")
ladder.b("A", 1, ack=7)
ladder.save(__file__)
