"""Crafted: only the server is seen: SYN-ACK, then its FIN."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.b("SA", 0, ack=1)
ladder.b("FA", 1, ack=1)
ladder.save(__file__)
