"""Crafted: one connection seen at two interfaces is a connection at each vantage."""

from pathlib import Path

from lab.analysis.capture_file import InterfaceDescription, PcapngWriter
from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
interfaces = [InterfaceDescription(name="eth0"), InterfaceDescription(name="eth1", linktype=101, snaplen=60)]
with PcapngWriter(Path(__file__).with_name("input.pcapng"), *interfaces) as file:
    for (t_ns, data), packet in zip(ladder.frames, ladder.packets, strict=True):
        file.packet(t_ns, data)
        file.packet(t_ns + 10, bytes(packet), interface=1)
