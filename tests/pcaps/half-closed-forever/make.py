"""Crafted: the passive FIN never comes."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.b("A", 1, ack=2)
ladder.save(__file__)
