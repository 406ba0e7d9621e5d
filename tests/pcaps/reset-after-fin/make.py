"""Crafted: A closed for good; data of B meet the closed socket."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.b("A", 1, ack=2)
ladder.b("PA", 1, ack=2, data=b"late")
ladder.a("R", 2)
ladder.save(__file__)
