"""Crafted: a RST when both FINs are done and acknowledged."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.close()
ladder.b("R", 2)
ladder.save(__file__)
