"""Crafted: 54 bytes kept of each packet: lengths come from the IP header."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"hello")
ladder.close(6, 1)
ladder.save(__file__, snaplen=54)
