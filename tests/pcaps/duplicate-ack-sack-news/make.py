"""Crafted: another window, but news by SACK: a duplicate ACK."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
for n in range(3):
    ladder.a("PA", 1 + 100 * n, ack=1, data=b"x" * 100)
a = ladder.isns["a"]
ladder.b("A", 1, ack=1, window=9000, options=[("NOP", None), ("NOP", None), ("SAck", (a + 101, a + 201))])
ladder.b("A", 1, ack=1, window=9100, options=[("NOP", None), ("NOP", None), ("SAck", (a + 101, a + 301))])
ladder.save(__file__)
