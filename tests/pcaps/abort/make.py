"""Crafted: SO_LINGER 0: a RST without FIN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"x")
ladder.b("A", 1, ack=2)
ladder.a("RA", 2, ack=1)
ladder.save(__file__)
