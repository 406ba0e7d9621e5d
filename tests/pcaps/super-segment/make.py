"""Crafted: payload above the MSS, before segmentation offload has cut it."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"x" * 1460)
ladder.a("PA", 1461, ack=1, data=b"x" * 4380)
ladder.b("A", 1, ack=5841)
ladder.save(__file__)
