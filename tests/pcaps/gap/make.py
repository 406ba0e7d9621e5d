"""Crafted: acknowledged bytes that the capture never shows: evidence lost."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.a("PA", 7, ack=1, data=b"ghi")
ladder.b("A", 1, ack=10)
ladder.save(__file__)
