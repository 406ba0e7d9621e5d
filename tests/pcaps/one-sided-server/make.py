"""Crafted: only the server is seen."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.b("SA", 0, ack=1)
ladder.b("A", 1, ack=6)
ladder.b("PA", 1, ack=6, data=b"ok")
ladder.save(__file__)
