"""Crafted after RFC 9293 figure 12: four segments, A first."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.close()
ladder.save(__file__)
