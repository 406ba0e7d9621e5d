"""Crafted: the second of three segments comes last: not seen before, so no retransmission."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.a("PA", 7, ack=1, data=b"ghi")
ladder.a("PA", 4, ack=1, data=b"def")
ladder.b("A", 1, ack=10)
ladder.save(__file__)
