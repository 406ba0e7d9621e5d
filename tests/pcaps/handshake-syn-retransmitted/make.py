"""Crafted: the SYN is sent three times with one ISN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.a("S", 0, after=1_000_000_000)
ladder.a("S", 0, after=2_000_000_000)
ladder.b("SA", 0, ack=1)
ladder.a("A", 1, ack=1)
ladder.save(__file__)
