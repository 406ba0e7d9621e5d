"""Crafted: both streams pass 2^32."""

from tests.pcaps.craft import Ladder

ladder = Ladder(a_isn=2**32 - 3, b_isn=2**32 - 1)
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abcdef")
ladder.a("PA", 10, ack=1, data=b"jkl")
ladder.a("PA", 7, ack=1, data=b"ghi")
ladder.b("PA", 1, ack=13, data=b"xyz")
ladder.a("PA", 1, ack=4, data=b"abcdef", after=300_000_000)
ladder.close(13, 4)
ladder.save(__file__)
