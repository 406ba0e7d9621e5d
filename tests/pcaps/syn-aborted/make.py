"""Crafted: the client gives up and resets before any answer."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.a("R", 1)
ladder.save(__file__)
