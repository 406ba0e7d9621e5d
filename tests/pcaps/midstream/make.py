"""Crafted: the capture begins in the middle of a connection."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("PA", 100, ack=200, data=b"abc")
ladder.b("A", 200, ack=103)
ladder.b("PA", 200, ack=103, data=b"defg", window=0)
ladder.a("A", 103, ack=204, window=0)
ladder.save(__file__)
