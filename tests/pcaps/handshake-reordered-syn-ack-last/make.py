"""Crafted: SYN, ACK, SYN-ACK: only the SYN-ACK stands late in the file."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.a("A", 1, ack=1)
ladder.b("SA", 0, ack=1)
ladder.save(__file__)
