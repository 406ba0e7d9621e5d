"""Crafted: OpenBSD loopback, family in network byte order."""

from pathlib import Path

from tests.pcaps.craft import Ladder, write_pcap

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"hello")
ladder.close(6, 1)
frames = [
    (t_ns, b"\x00\x00\x00\x02" + bytes(packet)) for (t_ns, _), packet in zip(ladder.frames, ladder.packets, strict=True)
]
write_pcap(Path(__file__).with_name("input.pcap"), frames, linktype=108)
