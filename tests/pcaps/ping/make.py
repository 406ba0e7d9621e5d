"""Crafted: two echo exchanges told apart by their identifier."""

from scapy.layers.inet import ICMP, IP

from tests.pcaps.craft import Ladder

ladder = Ladder()
for identifier in (7, 8):
    ladder.add(IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=8, id=identifier, seq=1) / b"data")
    ladder.add(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(type=0, id=identifier, seq=1) / b"data")
ladder.save(__file__)
