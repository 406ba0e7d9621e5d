"""Crafted: hop-by-hop, destination and routing headers before TCP."""

from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting

from tests.pcaps.craft import Ladder

ladder = Ladder(a="fd00::1", b="fd00::2")
ladder.handshake()
packet = ladder.a("PA", 1, ack=1, data=b"hello")
chain = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=0)
ladder.frames.pop()
ladder.add(IPv6(src="fd00::1", dst="fd00::2") / chain / packet["TCP"])
ladder.close(6, 1)
ladder.save(__file__)
