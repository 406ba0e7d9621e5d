"""Crafted: the passive FIN, sent twice, is never acknowledged."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.b("A", 1, ack=2)
ladder.b("FA", 1, ack=2)
ladder.b("FA", 1, ack=2, after=300_000_000)
ladder.save(__file__)
