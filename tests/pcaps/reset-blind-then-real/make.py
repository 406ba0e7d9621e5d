"""Crafted: a blind RST, then a real one: the real one counts."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("R", 900_000)
ladder.a("R", 1)
ladder.save(__file__)
