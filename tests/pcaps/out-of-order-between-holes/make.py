"""Crafted: holes are filled from the middle, then overlapped."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"a")
ladder.a("PA", 12, ack=1, data=b"z")
ladder.a("PA", 5, ack=1, data=b"mmm")
ladder.a("PA", 2, ack=1, data=b"bbbmmm")
ladder.a("PA", 8, ack=1, data=b"cccc")
ladder.b("A", 1, ack=13)
ladder.save(__file__)
