"""Crafted: the third segment carries data and FIN at once (RFC 9293 3.10.7.4 allows it)."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.b("SA", 0, ack=1)
ladder.a("FPA", 1, ack=1, data=b"bye")
ladder.save(__file__)
