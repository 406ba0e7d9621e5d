"""Crafted: the SYN-ACK, sent three times, is never acknowledged."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
for _ in range(3):
    ladder.b("SA", 0, ack=1, after=1_000_000_000)
ladder.save(__file__)
