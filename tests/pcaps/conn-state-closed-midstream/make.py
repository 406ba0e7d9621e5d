"""Crafted: both sides close a connection whose beginning was not seen; Zeek calls it SF."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("PA", 100, ack=200, data=b"abc")
ladder.a("FA", 103, ack=200)
ladder.b("FA", 200, ack=104)
ladder.a("A", 104, ack=201)
ladder.save(__file__)
