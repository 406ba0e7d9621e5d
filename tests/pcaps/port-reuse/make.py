"""Crafted: three incarnations of one 4-tuple: closed, refused, open."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"one")
ladder.b("A", 1, ack=4)
ladder.close(4, 1)
ladder.isns = {"a": 3_000_000_000, "b": 77}
ladder.a("S", 0)
ladder.b("RA", -77, ack=1)
ladder.isns = {"a": 12_345, "b": 99_999_999}
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"three")
ladder.save(__file__)
