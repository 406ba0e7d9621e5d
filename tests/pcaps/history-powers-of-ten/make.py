"""Crafted: the same data sent 21 times: the 1st and the 10th retransmission have a letter, the 20th has none."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
for _ in range(21):
    ladder.a("PA", 1, ack=1, data=b"hello", after=300_000_000)
ladder.b("A", 1, ack=6)
ladder.save(__file__)
