"""Crafted: data sent again after a silence."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"hello")
ladder.a("PA", 1, ack=1, data=b"hello", after=300_000_000)
ladder.b("A", 1, ack=6)
ladder.save(__file__)
