"""Capture files: pcap and pcapng, read in bounded memory, and pcapng written.

Read: pcap with microseconds or nanoseconds, in both byte orders; pcapng with any number of sections and interfaces,
both byte orders, any time resolution and offset; either of them compressed by gzip or zstd. A block of an unknown
kind is stepped over. A file that is cut or damaged yields every packet before the damage, then raises
`CaptureFileBroken` with the byte offset (in the uncompressed bytes).

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. The writer stands in `capture_writer.py` and is offered here.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from lab.analysis import kept_memory, pcapng_blocks, records
from lab.analysis.capture_writer import InterfaceDescription, PcapngWriter
from lab.analysis.pcapng_blocks import BlockBroken, Interface
from lab.analysis.records import Frames
from lab.errors import CaptureFileBroken, NotACapture

__all__ = ["Batch", "CaptureReader", "Interface", "InterfaceDescription", "PcapngWriter", "RawPacket", "raw_packets"]

BUFFER_BYTES = 1 << 20
BATCH_PACKETS = 1 << 14
"""More than a buffer of usual packets holds: so batches are alike, and threads that take them by turns keep pace."""
BATCHES_VALID = 2
"""How many batches stay valid at once."""
BUFFERS = BATCHES_VALID + 2
"""Each batch may have a buffer and frames of its own; one more is being filled, and one holds what comes after it."""

PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": (False, 1000),
    b"\xa1\xb2\xc3\xd4": (True, 1000),
    b"\x4d\x3c\xb2\xa1": (False, 1),
    b"\xa1\xb2\x3c\x4d": (True, 1),
}
"""First bytes of a pcap: (big-endian, ns in the unit of its fraction)."""
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some packets of a file, valid until so many more as `BATCHES_VALID` have been asked for."""

    buffer: npt.NDArray[np.uint8]
    """Bytes of the file; `frames.offset` counts from its start."""
    frames: Frames
    count: int
    """How many places of `frames` are filled."""
    last: bool = False
    """Whether the file is known to hold no more."""


@dataclass(frozen=True, kw_only=True)
class RawPacket:
    """One packet as it stands in the file."""

    index: int
    """Its place in the file, from 0."""
    t_ns: int
    data: bytes
    original_bytes: int
    interface: Interface


def _zstd_errors() -> tuple[type[Exception], ...]:
    """The errors of a damaged compressed stream."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from backports import zstd  # type: ignore[no-redef, unused-ignore]
    return (zlib.error, gzip.BadGzipFile, EOFError, zstd.ZstdError)


def _open(path: Path) -> IO[bytes]:
    """Open a capture file, taking compression off by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(GZIP_MAGIC):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic == ZSTD_MAGIC:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            from backports import zstd  # type: ignore[no-redef, unused-ignore]
        return cast(IO[bytes], zstd.open(path, "rb"))
    return path.open("rb", buffering=0)


class CaptureReader:
    """One capture file, read from start to end in batches.

    `interfaces` fills while reading: those of all sections in the order of the file (one for a pcap). Drop counters
    stand in it once the batches are through, since a file tells them at its end. `interface_table` has what the loops
    need of each, and how many packets the batches so far held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.interfaces: list[Interface] = []
        self._table = np.zeros(0, records.INTERFACE)
        self._first = 0
        self._big_endian = False
        # In one piece of memory, which the system can map by huge pages.
        self._buffer, *spare = kept_memory.empty(BUFFERS * BUFFER_BYTES, np.uint8).reshape(BUFFERS, BUFFER_BYTES)
        self._spare = deque(spare)
        self._start = self._stop = 0
        self._passed = 0
        """Bytes of the file that have left the buffer: what makes an offset in the buffer one in the file."""
        self._ended = False

    def batches(self) -> Iterator[Batch]:
        """Yield the packets in the order of the file.

        Raises: CaptureFileBroken where the file cannot be read (further); all before it was yielded.
        """
        try:
            with _open(self.path) as file:
                yield from self._read(file)
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile):
                raise self._broken(f"the gzip data are damaged, got {error}", self._stop) from error
            raise self._broken(f"cannot be read, got {error.strerror or error}", self._stop) from error

    def _read(self, file: IO[bytes]) -> Iterator[Batch]:
        damage: CaptureFileBroken | None = self._fill(file)
        magic = self._buffer[:4].tobytes() if self._stop >= 4 else b""
        if magic in PCAP_MAGICS:
            big_endian, unit_ns = PCAP_MAGICS[magic]
            self._pcap_header(big_endian)
            largest = max(records.LARGEST_PACKET, self.interfaces[0].snaplen)
            largest = min(largest, records.LARGEST_BLOCK)
        elif magic != PCAPNG_MAGIC:
            got = self._buffer[: min(self._stop, 4)].tobytes().hex(" ") or "none"
            raise damage or NotACapture(
                f"{self.path}: byte 0: not a capture file, got first bytes {got}; pcap and pcapng are known, "
                "plain or compressed by gzip or zstd",
                offset=0,
            )
        ring = records.frames_ring(BUFFERS, BATCH_PACKETS)
        frames = ring[0]
        count = turn = 0
        while True:
            if magic in PCAP_MAGICS:
                why, count, at = records.pcap_records(
                    self._buffer, self._start, self._stop, big_endian, unit_ns, largest, frames, count
                )
            else:
                why, count, at = records.pcapng_records(
                    self._buffer, self._start, self._stop, self._big_endian, self._table, self._first, frames, count
                )
            self._start = at
            if why == records.RARE and self._rare_block_is_whole():
                broken = self._rare_block()
                if broken is None:
                    continue
                damage = broken
            if count:
                records.count_packets(frames, count, self._table)
                last = self._ended and why == records.MORE
                yield Batch(buffer=self._buffer, frames=frames, count=count, last=last)
                count, turn = 0, (turn + 1) % BUFFERS
                frames = ring[turn]
            if why == records.FULL:
                continue
            if damage is not None:
                raise damage
            if why == records.BROKEN:
                raise self._broken("the record's lengths contradict one another", at)
            if self._ended:
                if self._start < self._stop:
                    left = self._stop - self._start
                    raise self._broken(f"the file is cut in the middle of a record, got {left} bytes of it", at)
                return
            damage = self._fill(file)
            if damage is not None and self._stop == self._start:
                raise damage

    def _fill(self, file: IO[bytes]) -> CaptureFileBroken | None:
        """Move what is left to a spare buffer and read on; returns the damage of a compressed stream, if it is met."""
        left = self._stop - self._start
        buffer = self._spare.popleft()
        if 2 * left > buffer.size:
            buffer = np.empty(4 * left, np.uint8)
        buffer[:left] = self._buffer[self._start : self._stop]
        self._spare.append(self._buffer)
        self._buffer = buffer
        self._passed += self._start
        self._start, self._stop = 0, left
        while self._stop < self._buffer.size:
            try:
                got = cast(Any, file).readinto(self._buffer[self._stop :])
            except _zstd_errors() as error:
                self._ended = True
                return self._broken(f"the compressed data are damaged, got {error}", self._stop)
            if not got:
                self._ended = True
                break
            self._stop += got
        return None

    def _broken(self, what: str, at: int) -> CaptureFileBroken:
        offset = self._passed + at
        return CaptureFileBroken(
            f"{self.path}: byte {offset}: {what}",
            offset=offset,
            hint="what came before that byte has been analysed; copy the file again if it was cut on its way",
        )

    def _pcap_header(self, big_endian: bool) -> None:
        """Take in the 24 bytes at the head of a pcap."""
        if self._stop < 24:
            raise self._broken(f"the file is cut in its header, got {self._stop} bytes; a pcap's header has 24", 0)
        snaplen, linktype = struct.unpack(">II" if big_endian else "<II", self._buffer[16:24].tobytes())
        linktype &= 0x03FF_FFFF  # above: frame check sequence bits
        self._add(Interface(linktype=linktype, snaplen=snaplen))
        self._start = 24

    def _add(self, interface: Interface) -> None:
        self.interfaces.append(interface)
        grown = np.zeros(len(self.interfaces), records.INTERFACE)
        grown[:-1] = self._table
        grown[-1] = (
            interface.linktype,
            interface.snaplen,
            interface.multiply,
            interface.divide,
            interface.binary_shift,
            interface.offset_ns,
            0,  # its number among all captures: whoever reads several files gives it
            *(0, 0, 0),  # packets, first_ns, last_ns
        )
        self._table = grown

    @property
    def interface_table(self) -> npt.NDArray[np.void]:
        """`interfaces` as the compiled loops want them (rows of `records.INTERFACE`)."""
        return self._table

    def _rare_block_is_whole(self) -> bool:
        """Whether the block at the start of the buffer is all there (or broken, which needs no more of it)."""
        at = self._start
        if self._stop - at < 12:
            return False
        length = pcapng_blocks.length_of(self._buffer[at : at + 12].tobytes(), big_endian=self._big_endian)
        return length is None or at + length <= self._stop

    def _rare_block(self) -> CaptureFileBroken | None:
        """Take in a section header, interface description or interface statistics; returns the damage, if any."""
        at = self._start
        head = self._buffer[at : at + 12].tobytes()
        length = pcapng_blocks.length_of(head, big_endian=self._big_endian)
        try:
            if length is None:
                raise BlockBroken("the block's length is not possible")
            block = self._buffer[at : at + length].tobytes()
            if head[:4] == PCAPNG_MAGIC:
                self._big_endian = pcapng_blocks.section_byte_order(block)
                self._first = len(self.interfaces)
            elif pcapng_blocks.kind_of(head, big_endian=self._big_endian) == records.INTERFACE_DESCRIPTION:
                self._add(pcapng_blocks.read_interface(block, big_endian=self._big_endian))
            else:
                pcapng_blocks.read_statistics(block, self.interfaces[self._first :], big_endian=self._big_endian)
        except BlockBroken as error:
            self._ended = True
            return self._broken(str(error), at)
        self._start += length
        return None


def raw_packets(path: Path, wanted: npt.NDArray[np.int64] | None = None) -> Iterator[RawPacket]:
    """Yield the packets of a file as bytes: all of them, or those whose indexes `wanted` holds (sorted).

    Raises: CaptureFileBroken, as `CaptureReader.batches`.
    """
    reader = CaptureReader(path)
    first = 0
    for batch in reader.batches():
        if wanted is None:
            places = np.arange(batch.count)
        else:
            low, high = np.searchsorted(wanted, [first, first + batch.count])
            places = np.asarray(wanted[low:high]) - first
        frames = batch.frames
        for place in places.tolist():
            offset, captured = int(frames.offset[place]), int(frames.captured[place])
            yield RawPacket(
                index=first + place,
                t_ns=int(frames.t_ns[place]),
                data=batch.buffer[offset : offset + captured].tobytes(),
                original_bytes=int(frames.original[place]),
                interface=reader.interfaces[int(frames.interface[place])],
            )
        first += batch.count
