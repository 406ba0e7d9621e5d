"""Writing a pcapng file: nanoseconds, the interface described, its statistics at the end.

For packets picked out of other captures, and for captures made by hand in tests. (The recorder inside a host has a
writer of its own: nothing under `inside` imports the analysis.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab.analysis.pcapng_blocks import (
    BYTE_ORDER_MAGIC,
    IF_FILTER,
    IF_NAME,
    IF_OS,
    IF_TSRESOL,
    ISB_ENDTIME,
    ISB_IFDROP,
    ISB_IFRECV,
    ISB_STARTTIME,
    OPTION_END,
)


@dataclass(frozen=True, kw_only=True)
class InterfaceDescription:
    """What a file says of one interface before its packets."""

    linktype: int = 1
    """LINKTYPE_ number; 1 is Ethernet."""
    snaplen: int = 0
    """Bytes kept of each packet at most; 0 = no limit."""
    name: str | None = None
    filter: str | None = None
    os: str | None = None


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


class PcapngWriter:
    """Writes one section with one or more interfaces; use it in a `with` statement."""

    def __init__(self, path: Path, *interfaces: InterfaceDescription) -> None:
        self._file = path.open("wb")
        self._file.write(_block(0x0A0D0D0A, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)))
        for interface in interfaces or (InterfaceDescription(),):
            self._file.write(self._describe(interface))

    @staticmethod
    def _describe(interface: InterfaceDescription) -> bytes:
        body = struct.pack("<HHI", interface.linktype, 0, interface.snaplen)
        if interface.name is not None:
            body += _option(IF_NAME, interface.name.encode())
        body += _option(IF_TSRESOL, b"\x09")
        if interface.filter is not None:
            body += _option(IF_FILTER, b"\x00" + interface.filter.encode())
        if interface.os is not None:
            body += _option(IF_OS, interface.os.encode())
        return _block(1, body + _option(OPTION_END, b""))

    def packet(self, t_ns: int, data: bytes, *, original_bytes: int | None = None, interface: int = 0) -> None:
        """Write one packet; `original_bytes` is its length on the wire where `data` are cut short."""
        original = len(data) if original_bytes is None else original_bytes
        head = struct.pack("<IIIII", interface, t_ns >> 32 & 0xFFFFFFFF, t_ns & 0xFFFFFFFF, len(data), original)
        self._file.write(_block(6, head + data + bytes(-len(data) % 4)))

    def statistics(
        self,
        t_ns: int,
        *,
        received: int,
        dropped: int,
        interface: int = 0,
        recorded_ns: tuple[int, int] | None = None,
    ) -> None:
        """Write how many packets the recorder saw and how many of them it lost; and from when to when it recorded."""
        body = struct.pack("<III", interface, t_ns >> 32 & 0xFFFFFFFF, t_ns & 0xFFFFFFFF)
        for code, time_ns in zip((ISB_STARTTIME, ISB_ENDTIME), recorded_ns or (), strict=False):
            body += _option(code, struct.pack("<II", time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF))
        body += _option(ISB_IFRECV, struct.pack("<Q", received)) + _option(ISB_IFDROP, struct.pack("<Q", dropped))
        self._file.write(_block(5, body + _option(OPTION_END, b"")))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> PcapngWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
