"""Crafted: the file has the passive FIN before the active one; the numbers say who was first."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("FA", 1, ack=2)
ladder.a("FA", 1, ack=1)
ladder.a("A", 2, ack=2)
ladder.save(__file__)
