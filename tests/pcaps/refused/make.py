"""Crafted: a closed port answers RST+ACK with ack = A+1 (RFC 9293 3.10.7.1)."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("RA", -5_000_000, ack=1, window=0)
ladder.save(__file__)
