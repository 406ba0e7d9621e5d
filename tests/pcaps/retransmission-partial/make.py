"""Crafted: a retransmission that brings new bytes too."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.a("PA", 1, ack=1, data=b"abcdef", after=300_000_000)
ladder.b("A", 1, ack=7)
ladder.save(__file__)
