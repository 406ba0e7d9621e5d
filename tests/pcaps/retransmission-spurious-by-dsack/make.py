"""Crafted after RFC 2883: a DSACK reports the retransmission received twice."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.a("PA", 1, ack=1, data=b"abc", after=300_000_000)
ladder.b("A", 1, ack=4)
ladder.b("A", 1, ack=4, options=[("NOP", None), ("NOP", None), ("SAck", (ladder.isns["a"] + 1, ladder.isns["a"] + 4))])
ladder.save(__file__)
