"""Crafted after RFC 9293 figure 7: both open at once."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("S", 0)
ladder.a("SA", 0, ack=1)
ladder.b("SA", 0, ack=1)
ladder.save(__file__)
