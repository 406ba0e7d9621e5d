"""Crafted: a SYN is answered by a reset with another number: it answers nothing."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("RA", 0, ack=999)
ladder.save(__file__)
