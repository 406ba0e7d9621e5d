"""Crafted: IPv6."""

from tests.pcaps.craft import Ladder

ladder = Ladder(a="fd00::1", b="fd00::2")
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"hello")
ladder.close(6, 1)
ladder.save(__file__)
