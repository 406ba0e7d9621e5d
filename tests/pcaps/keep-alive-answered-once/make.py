"""Crafted: the first bare ACK after a keep-alive answers it; data, FIN and a second ACK do not."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=4)
ladder.a("A", 3, ack=1, after=1_000_000_000)
ladder.b("PA", 1, ack=4, data=b"xyz")
ladder.b("FA", 4, ack=4)
ladder.b("A", 5, ack=4)
ladder.b("A", 5, ack=4)
ladder.save(__file__)
