"""Crafted: a TCP split handshake in four segments: B answers with a bare SYN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("S", 0)
ladder.a("SA", 0, ack=1)
ladder.b("A", 1, ack=1)
ladder.save(__file__)
