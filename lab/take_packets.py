"""Packets of chosen connections taken out of a capture: as a file, in a scapy shell, in Wireshark.

In: the capture file and the indexes of the packets. They go out as they stand in the file: bytes, times in ns, lengths
on the wire, link type. Written as pcapng, which alone can hold several interfaces.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from lab.analysis.capture_file import Interface, InterfaceDescription, PcapngWriter, RawPacket, raw_packets
from lab.captured import Captured, Wanted
from lab.errors import CaptureFileBroken, LabError, MachineLacks


def take(captured: Captured, packets: pl.DataFrame, wanted: Wanted) -> list[str]:
    """Do with packets (rows of the packets table of `captured`) what is wanted; return lines to say."""
    said = []
    chosen = _chosen(captured.file, packets)
    if wanted.pcap is not None:
        _write(wanted.pcap, chosen)
        said.append(f"{len(chosen)} packets written to {wanted.pcap}")
    if wanted.wireshark:
        _show_in_wireshark(chosen)
    if wanted.scapy:
        _open_scapy(chosen)
    return said


def _chosen(file: Path, packets: pl.DataFrame) -> list[RawPacket]:
    """Read the packets from the file; the damage of a broken file has been told already."""
    indexes = packets["index"].cast(pl.Int64).sort().to_numpy()
    chosen: list[RawPacket] = []
    try:
        for packet in raw_packets(file, np.asarray(indexes)):
            chosen.append(packet)
            if len(chosen) == indexes.size:
                break
    except CaptureFileBroken:
        pass
    return chosen


def _write(target: Path, chosen: list[RawPacket]) -> None:
    """Write packets as pcapng, with those interfaces that they came in by. Raises LabError where that fails."""
    numbers: dict[int, int] = {}
    interfaces: list[Interface] = []
    for packet in chosen:
        if id(packet.interface) not in numbers:
            numbers[id(packet.interface)] = len(interfaces)
            interfaces.append(packet.interface)
    described = [
        InterfaceDescription(linktype=i.linktype, snaplen=i.snaplen, name=i.name, filter=i.filter, os=i.os)
        for i in interfaces
    ]
    try:
        with PcapngWriter(target, *described) as writer:
            for packet in chosen:
                writer.packet(
                    packet.t_ns,
                    packet.data,
                    original_bytes=packet.original_bytes,
                    interface=numbers[id(packet.interface)],
                )
    except OSError as error:
        raise LabError(f"{target}: cannot be written, got {error.strerror or error}") from error


def _show_in_wireshark(chosen: list[RawPacket]) -> None:
    """Start Wireshark on packets and wait until it is closed. Raises MachineLacks without Wireshark."""
    program = shutil.which("wireshark")
    if program is None:
        raise MachineLacks(
            "wireshark: not found in PATH",
            hint="install it, or write the packets with `--pcap FILE` and open them there",
        )
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        file = Path(folder) / "connection.pcapng"
        _write(file, chosen)
        subprocess.run([program, "-r", str(file)], check=False)


def _open_scapy(chosen: list[RawPacket]) -> None:
    """Open a scapy shell in which `packets` are the packets, dissected, with their times."""
    from scapy.config import conf
    from scapy.data import DLT_EN10MB
    from scapy.main import interact
    from scapy.packet import Packet
    from scapy.plist import PacketList

    import scapy.all  # isort: skip # noqa: F401 - loads every layer before the first packet is dissected

    def dissected(packet: RawPacket) -> Packet:
        layer = conf.l2types.num2layer.get(packet.interface.linktype, conf.l2types.num2layer[DLT_EN10MB])
        made = layer(packet.data)
        made.time = packet.t_ns / 1e9
        made.wirelen = packet.original_bytes
        return made

    packets = PacketList([dissected(packet) for packet in chosen], name="packets")
    print(f"`packets` holds {len(packets)} packets; try packets.summary() or packets[0].show()", file=sys.stderr)
    interact(mydict={"packets": packets}, argv=["lab"])
