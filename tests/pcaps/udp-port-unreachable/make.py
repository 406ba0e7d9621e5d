"""Crafted: a datagram to a closed port, and the ICMP error it causes."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.unreachable("b", ladder.datagram("a", b"anyone?"))
ladder.save(__file__)
