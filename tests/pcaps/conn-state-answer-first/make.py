"""Crafted: the SYN was not seen, but both sides take part after the SYN-ACK; Zeek calls it S1."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.b("SA", 0, ack=1)
ladder.a("A", 1, ack=1)
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.b("PA", 1, ack=4, data=b"defg")
ladder.save(__file__)
