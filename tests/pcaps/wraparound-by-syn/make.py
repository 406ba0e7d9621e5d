"""Crafted: the SYN of each side has the last number there is, and its acknowledgement the first."""

from tests.pcaps.craft import Ladder

ladder = Ladder(a_isn=2**32 - 1, b_isn=2**32 - 1)
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("PA", 1, ack=4, data=b"xyz")
ladder.close(4, 4)
ladder.save(__file__)
