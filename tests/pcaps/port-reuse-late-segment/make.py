"""Crafted after RFC 9293 3.5.1, half-open: after a crash A opens anew; B answers for the old connection."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"old")
ladder.b("A", 1, ack=4)
old = dict(ladder.isns)
ladder.isns = {"a": 3_000_000_000, "b": 2_000_000_000}
ladder.a("S", 0)
ladder.isns = old
ladder.b("A", 1, ack=4)
ladder.a("R", 4)
ladder.isns = {"a": 3_000_000_000, "b": 2_000_000_000}
ladder.a("S", 0, after=1_000_000_000)
ladder.b("SA", 0, ack=1)
ladder.a("A", 1, ack=1)
ladder.save(__file__)
