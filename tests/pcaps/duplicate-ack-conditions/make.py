"""Crafted: what is no duplicate ACK: nothing outstanding, another window, data, FIN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("A", 1, ack=1)
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("A", 1, ack=1, window=9000)
ladder.b("PA", 1, ack=1, data=b"x", window=9000)
ladder.b("A", 2, ack=1, window=9000)
ladder.b("FA", 2, ack=1, window=9000)
ladder.save(__file__)
