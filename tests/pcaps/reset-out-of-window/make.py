"""Crafted: a blind RST whose number is outside the window (RFC 5961); the connection lives on."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("R", 900_000)
ladder.a("PA", 1, ack=1, data=b"still here")
ladder.b("A", 1, ack=11)
ladder.save(__file__)
