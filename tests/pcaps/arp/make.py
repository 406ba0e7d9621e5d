"""Crafted: a question to everybody and its answer, padded as a card does; the packet they are for; one unanswered."""

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Padding

from tests.pcaps.craft import MILLISECOND, Ladder

A, B, ALL = "02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"
question = ARP(op=1, hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.2")
answer = ARP(op=2, hwsrc=B, psrc="10.0.0.2", hwdst=A, pdst="10.0.0.1")
datagram = IP(src="10.0.0.1", dst="10.0.0.2", id=1, flags="DF") / UDP(sport=40_000, dport=9000) / b"hello"
group = IP(src="10.0.0.1", dst="224.0.0.1", id=2) / UDP(sport=40_000, dport=9000) / b"all"
frames = [
    Ether(src=A, dst=ALL) / question,
    Ether(src=B, dst=A) / answer / Padding(bytes(18)),
    Ether(src=A, dst=B) / datagram / Padding(bytes(9)),
    Ether(src=A, dst=ALL) / ARP(op=1, hwsrc=A, psrc="10.0.0.1", pdst="10.0.0.9"),
    Ether(src=A, dst="01:00:5e:00:00:01") / group,
    Ether(src=A, dst="01:80:c2:00:00:00", type=38) / bytes(38),
    Ether(src=A, dst=ALL, type=0x8035) / ARP(op=1, hwsrc=A),  # the same form, another protocol: RARP (RFC 903)
]
ladder = Ladder()
for frame in frames:
    ladder.t_ns += MILLISECOND
    ladder.frames.append((ladder.t_ns, bytes(frame)))
ladder.save(__file__)
