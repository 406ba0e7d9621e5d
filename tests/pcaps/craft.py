"""Captures crafted packet by packet: a small language for the `make.py` of each case.

    ladder = Ladder()
    ladder.a("S", 0)                    # from A: flags, sequence number relative to A's ISN, ...
    ladder.b("SA", 0, ack=1)            # ... acknowledgement relative to B's ISN, data
    ladder.a("PA", 1, ack=1, data=b"hello")
    ladder.save(__file__)

Numbers are relative to the ISN of their stream. Each packet comes 1 ms after the one before, unless `after` says
otherwise. The output is the same bytes each time it is made.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

START_NS = 1_700_000_000_000_000_000
MODULUS = 1 << 32
MILLISECOND = 1_000_000
ETHERNET = bytes.fromhex("020000000002 020000000001")
"""The addresses of every frame, receiver's first."""
ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


def write_pcap(path: Path, frames: list[tuple[int, bytes]], *, linktype: int = 1, nanoseconds: bool = True,
               big_endian: bool = False, snaplen: int = 262_144) -> None:  # fmt: skip
    """Write frames (ns, bytes) as a classic pcap in either byte order and resolution, cut at `snaplen`."""
    order = ">" if big_endian else "<"
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype)]
    for t_ns, data in frames:
        seconds, fraction = divmod(t_ns, 1_000_000_000)
        fraction = fraction if nanoseconds else fraction // 1000
        kept = data[:snaplen]
        out += (struct.pack(order + "IIII", seconds, fraction, len(kept), len(data)), kept)
    path.write_bytes(b"".join(out))


class Ladder:
    """Two hosts and the segments between them, collected as frames."""

    def __init__(
        self,
        *,
        a: str = "10.0.0.1",
        b: str = "10.0.0.2",
        a_port: int = 40_000,
        b_port: int = 80,
        a_isn: int = 1_000_000,
        b_isn: int = 5_000_000,
    ) -> None:
        self.hosts = {"a": a, "b": b}
        self.ports = {"a": a_port, "b": b_port}
        self.isns = {"a": a_isn, "b": b_isn}
        self.t_ns = START_NS
        self.frames: list[tuple[int, bytes]] = []
        self.packets: list[Packet] = []
        """The same as IP packets, for whoever wants to wrap them otherwise."""
        self._ip_id = 0

    def _ip(self, who: str, **fields: Any) -> Packet:
        other = "b" if who == "a" else "a"
        if ":" in self.hosts[who]:
            return IPv6(src=self.hosts[who], dst=self.hosts[other], **fields)
        self._ip_id += 1
        fields.setdefault("id", self._ip_id)
        return IP(src=self.hosts[who], dst=self.hosts[other], **fields)

    def add(self, packet: Packet, *, after: int = MILLISECOND) -> None:
        """Append an IP packet, `after` ns later than the last one."""
        self.t_ns += after
        self.packets.append(packet)
        self.frames.append((self.t_ns, ETHERNET + ETHERTYPES[packet.version] + bytes(packet)))

    def segment(
        self,
        who: str,
        flags: str,
        seq: int,
        *,
        ack: int | None = None,
        data: bytes = b"",
        window: int = 8192,
        options: list[tuple[str, Any]] | None = None,
        after: int = MILLISECOND,
        **ip: Any,
    ) -> Packet:
        """Make a segment of one side; numbers are relative to the ISNs. `ack` without flag A is left in the header."""
        other = "b" if who == "a" else "a"
        tcp = TCP(
            sport=self.ports[who],
            dport=self.ports[other],
            flags=flags,
            seq=(self.isns[who] + seq) % MODULUS,
            ack=0 if ack is None else (self.isns[other] + ack) % MODULUS,
            window=window,
            options=options or [],
        )
        if data:
            tcp.add_payload(data)
        packet = self._ip(who, **ip)
        packet.add_payload(tcp)  # as `packet / tcp` does, which copies both
        self.add(packet, after=after)
        return packet

    def a(self, flags: str, seq: int, **fields: Any) -> Packet:
        """A segment from A."""
        return self.segment("a", flags, seq, **fields)

    def b(self, flags: str, seq: int, **fields: Any) -> Packet:
        """A segment from B."""
        return self.segment("b", flags, seq, **fields)

    def handshake(self, *, mss: int = 1460, **fields: Any) -> None:
        """The three segments that open a connection."""
        options = [("MSS", mss), *fields.pop("options", [])]
        self.a("S", 0, options=options, **fields)
        self.b("SA", 0, ack=1, options=options, **fields)
        self.a("A", 1, ack=1)

    def close(self, a: int = 1, b: int = 1) -> None:
        """Four segments that close it, A first; `a` and `b` are the next numbers of both streams."""
        self.a("FA", a, ack=b)
        self.b("A", b, ack=a + 1)
        self.b("FA", b, ack=a + 1)
        self.a("A", a + 1, ack=b + 1)

    def datagram(self, who: str, data: bytes, **fields: Any) -> Packet:
        """A UDP datagram."""
        other = "b" if who == "a" else "a"
        packet = self._ip(who) / UDP(sport=self.ports[who], dport=self.ports[other]) / data
        self.add(packet, **fields)
        return packet

    def unreachable(self, who: str, quoted: Packet, *, code: int = 3, kind: int = 3) -> None:
        """An ICMP error from `who` that quotes a packet."""
        error = ICMP(type=kind, code=code) / bytes(quoted)[:28]
        self.add(self._ip(who) / error)

    def save(self, script: str, **how: Any) -> None:
        """Write `input.pcap` beside the script."""
        write_pcap(Path(script).with_name("input.pcap"), self.frames, **how)
