"""Crafted: SYNs into silence."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.a("S", 0, after=1_000_000_000)
ladder.save(__file__)
