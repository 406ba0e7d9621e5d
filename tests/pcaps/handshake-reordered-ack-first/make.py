"""Crafted: all three segments in reverse order."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("A", 1, ack=1)
ladder.b("SA", 0, ack=1)
ladder.a("S", 0)
ladder.save(__file__)
