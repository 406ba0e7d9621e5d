"""Crafted: the server sends FIN, the client never does."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("FA", 1, ack=1)
ladder.a("A", 1, ack=2)
ladder.save(__file__)
