"""Crafted: a segment of 3000 bytes in three IP fragments, FIN on it; and a datagram likewise."""

from scapy.layers.inet import fragment

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
whole = ladder.a("FPA", 1, ack=1, data=b"x" * 3000, id=700)
ladder.frames.pop()
for part in fragment(whole, fragsize=1400):
    ladder.add(part, after=1000)
ladder.b("A", 1, ack=3002)
datagram = ladder.datagram("b", b"y" * 2000)
ladder.frames.pop()
for part in fragment(datagram, fragsize=1400):
    ladder.add(part, after=1000)
ladder.save(__file__)
