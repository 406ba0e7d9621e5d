"""Crafted: keep-alives without data and with one old byte, each answered."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=4)
ladder.a("A", 3, ack=1, after=1_000_000_000)
ladder.b("A", 1, ack=4)
ladder.a("A", 3, ack=1, data=b"c", after=1_000_000_000)
ladder.b("A", 1, ack=4)
ladder.save(__file__)
