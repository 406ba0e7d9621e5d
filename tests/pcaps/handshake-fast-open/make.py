"""Crafted after RFC 7413: data in the SYN, acknowledged with it."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0, data=b"GET /", options=[("MSS", 1460), ("TFO", (1, 2))])
ladder.b("SA", 0, ack=6)
ladder.b("PA", 1, ack=6, data=b"200")
ladder.a("A", 6, ack=4)
ladder.close(6, 4)
ladder.save(__file__)
