"""Crafted: both FINs and no last ACK, in a capture that misses bytes: the ACK may be missing there too."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=10)
ladder.a("FA", 10, ack=1)
ladder.b("A", 1, ack=11)
ladder.b("FA", 1, ack=11)
ladder.save(__file__)
