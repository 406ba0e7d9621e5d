"""Crafted: a RST that explains itself in its payload (RFC 9293 3.5.3)."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("RA", 1, ack=1, data=b"no more memory")
ladder.save(__file__)
