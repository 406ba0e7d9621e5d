"""Crafted: Windows tries a refused port three times with one ISN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
for _ in range(3):
    ladder.a("S", 0)
    ladder.b("RA", -5_000_000, ack=1)
ladder.save(__file__)
