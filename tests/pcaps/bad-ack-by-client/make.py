"""Crafted: the third segment acknowledges a wrong number; by flags alone this looks complete."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("SA", 0, ack=1)
ladder.a("A", 1, ack=77)
ladder.b("R", 77)
ladder.save(__file__)
