"""Crafted: A resets after its own FIN, and the FIN of B was on its way: both have closed; Zeek calls it SF."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("FA", 1, ack=1)
ladder.a("RA", 2, ack=1)
ladder.b("FA", 1, ack=1)
ladder.save(__file__)
