"""Crafted: the classic format with microseconds, little-endian."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"hello")
ladder.close(6, 1)
ladder.save(__file__, nanoseconds=False)
