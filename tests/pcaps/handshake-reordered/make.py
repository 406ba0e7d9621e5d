"""Crafted: the file has SYN-ACK before SYN, as two capture queues merge it."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.b("SA", 0, ack=1)
ladder.a("S", 0)
ladder.a("A", 1, ack=1)
ladder.a("PA", 1, ack=1, data=b"x")
ladder.save(__file__)
