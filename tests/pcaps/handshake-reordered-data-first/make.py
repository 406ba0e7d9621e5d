"""Crafted: the file has data of B before the handshake; the originator is who sent the SYN, not who stands first."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.b("PA", 1, ack=1, data=b"x")
ladder.a("S", 0)
ladder.b("SA", 0, ack=1)
ladder.a("A", 1, ack=1)
ladder.save(__file__)
