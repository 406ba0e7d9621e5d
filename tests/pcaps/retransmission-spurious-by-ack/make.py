"""Crafted: what is sent again was acknowledged already."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=4)
ladder.a("PA", 1, ack=1, data=b"abc", after=300_000_000)
ladder.save(__file__)
