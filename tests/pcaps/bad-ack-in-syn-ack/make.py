"""Crafted: the SYN-ACK acknowledges a number that was never sent; by flags alone this looks complete."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("SA", 0, ack=1000)
ladder.a("R", 1000)
ladder.save(__file__)
