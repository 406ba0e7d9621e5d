"""Crafted: the last segment of the handshake acknowledges rightly, but beyond what A sent (RFC 9293 3.10.7.4)."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("SA", 0, ack=1)
ladder.a("A", 500, ack=1)
ladder.save(__file__)
