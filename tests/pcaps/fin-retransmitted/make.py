"""Crafted: the active FIN is sent again, now acknowledging the passive FIN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.b("A", 1, ack=2)
ladder.b("FA", 1, ack=2)
ladder.a("FA", 1, ack=2, after=300_000_000)
ladder.a("A", 2, ack=2)
ladder.save(__file__)
