"""Crafted: a half-open scan: SYN, SYN-ACK, RST."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("SA", 0, ack=1)
ladder.a("R", 1)
ladder.save(__file__)
