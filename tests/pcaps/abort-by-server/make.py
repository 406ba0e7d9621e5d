"""Crafted: the server resets."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.b("RA", 1, ack=1)
ladder.save(__file__)
