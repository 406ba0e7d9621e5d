"""Crafted: the recorder says that it lost packets: what claims an absence is unknown."""

from pathlib import Path

from lab.analysis.capture_file import InterfaceDescription, PcapngWriter
from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
ladder.ports["a"] += 1
ladder.handshake()
ladder.ports["a"] += 1
ladder.handshake()
ladder.close()
ladder.ports["a"] += 1
ladder.a("S", 0)
ladder.b("RA", -5_000_000, ack=1)
with PcapngWriter(
    Path(__file__).with_name("input.pcapng"), InterfaceDescription(name="eth0", filter="tcp", os="Linux")
) as file:
    for t_ns, data in ladder.frames:
        file.packet(t_ns, data)
    file.statistics(ladder.t_ns, received=100, dropped=3)
