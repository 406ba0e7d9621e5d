"""Crafted: only the client is seen; its ACK shows that an answer existed."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.a("A", 1, ack=1)
ladder.a("PA", 1, ack=1, data=b"hello")
ladder.a("FA", 6, ack=11)
ladder.a("A", 7, ack=12)
ladder.save(__file__)
