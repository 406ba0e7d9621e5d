"""Crafted after RFC 7413: the SYN is acknowledged without its data, which is sent again."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0, data=b"GET /", options=[("TFO", (1, 2))])
ladder.b("SA", 0, ack=1)
ladder.a("PA", 1, ack=1, data=b"GET /")
ladder.b("A", 1, ack=6)
ladder.save(__file__)
