"""Crafted: a router says that the host cannot be reached."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
quoted = ladder.a("S", 0)
ladder.hosts["b"] = "10.9.9.9"
ladder.unreachable("b", quoted, code=1)
ladder.save(__file__)
