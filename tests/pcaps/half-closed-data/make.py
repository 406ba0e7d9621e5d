"""Crafted: B goes on sending after it acknowledged the FIN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.b("A", 1, ack=2)
ladder.b("PA", 1, ack=2, data=b"more")
ladder.a("A", 2, ack=5)
ladder.b("FA", 5, ack=2)
ladder.a("A", 2, ack=6)
ladder.save(__file__)
