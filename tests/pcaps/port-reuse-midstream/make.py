"""Crafted: a stream that the capture meets in the middle, then a SYN with a far ISN: ports used again."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("PA", 5000, ack=1, data=b"abc")
ladder.b("A", 1, ack=5003)
ladder.a("S", 10_000_000)
ladder.b("SA", 7_000_000, ack=10_000_001)
ladder.a("A", 10_000_001, ack=7_000_001)
ladder.save(__file__)
