"""Crafted: after a close, B opens a connection to A on the same ports."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.close()
ladder.isns = {"a": 3_000_000_000, "b": 2_000_000_000}
ladder.b("S", 0)
ladder.a("SA", 0, ack=1)
ladder.b("A", 1, ack=1)
ladder.save(__file__)
