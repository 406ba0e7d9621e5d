"""Crafted after RFC 9293 figure 13: the FINs cross."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.b("FA", 1, ack=1)
ladder.a("A", 2, ack=2)
ladder.b("A", 2, ack=2)
ladder.save(__file__)
