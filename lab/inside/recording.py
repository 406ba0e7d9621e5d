"""One interface's recording, and the pcapng file made of one or several of them after the stop.

In: rings that have been shut and drained, with what was spooled. Out: one file: section header, an interface
description each, the packets (of several interfaces in the order of time), and an interface statistics block each, so
that the file itself tells what it lacks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from lab.inside import pcapng
from lab.inside.records import Converter, interface_of, split, time_of, time_of_last
from lab.inside.ring import Ring
from lab.inside.spool import Spool

_APPLICATION = "wirelab capture"
_BATCH = 1024


class Recording:
    """One interface while it is recorded, and what came of it."""

    def __init__(self, *, interface: str, linktype: int, ring: Ring, spool: Spool, start_ns: int) -> None:
        self.interface = interface
        self.linktype = linktype
        self.ring = ring
        self.spool = spool
        self.start_ns = start_ns
        """When the interface was armed, CLOCK_REALTIME; every packet of it is later."""
        self.end_ns = 0
        """When nothing more was let in."""
        self.written = 0
        """Packets in the file."""
        self.written_bytes = 0
        """Bytes of the file that they take."""
        self.first_ns: int | None = None
        """Time of the first packet in the file; None without one."""
        self.last_ns: int | None = None
        self.truncated = False
        """Whether packets were left out for the cap."""
        self.error: str | None = None
        """What the socket reported (the interface went down), else None."""

    def note(self, packets: int, records: memoryview) -> None:
        """Account for records of this interface, in order, that went to the file."""
        if packets:
            if self.first_ns is None:
                self.first_ns = time_of(records)
            self.last_ns = time_of_last(records)
            self.written += packets
            self.written_bytes += len(records)

    def statistics(self, index: int) -> bytes:
        """The interface statistics block of interface number `index`."""
        return pcapng.interface_statistics(
            index,
            received=self.ring.packets,
            dropped=self.ring.drops,
            written=self.written,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
        )


def write_capture(
    file: BinaryIO, recordings: list[Recording], *, snaplen: int, capture_filter: str, cap: int | None
) -> None:
    """Write the whole file and account for every packet in its recording; `cap` bounds the file's bytes."""
    head = pcapng.section_header(_APPLICATION) + b"".join(
        pcapng.interface_description(r.interface, r.linktype, snaplen, capture_filter) for r in recordings
    )
    statistics_bytes = len(_statistics(recordings))
    room = None if cap is None else cap - len(head) - statistics_bytes
    file.write(head)
    if len(recordings) == 1:
        _write_as_it_comes(file, recordings[0], snaplen, room)
    else:
        _write_one_by_one(file, recordings, snaplen, room)
    for recording in recordings:
        recording.truncated = cap is not None and recording.written < recording.ring.packets - recording.ring.drops
    file.write(_statistics(recordings))


def _write_as_it_comes(file: BinaryIO, recording: Recording, snaplen: int, room: int | None) -> None:
    """The common case, one interface: block by block, without looking at single packets but in the block that ends at
    the cap.
    """
    for packets, records in _converted(0, recording, snaplen):
        if room is not None and len(records) > room:
            kept = _fitting(list(split(records)), room)
            file.write(b"".join(kept))
            recording.note(len(kept), memoryview(b"".join(kept)))
            return
        file.write(records)
        recording.note(packets, records)
        if room is not None:
            room -= len(records)


def _write_one_by_one(file: BinaryIO, recordings: list[Recording], snaplen: int, room: int | None) -> None:
    """Several interfaces merged by time, as many packets as the room allows."""
    streams = [
        (record for _packets, records in _converted(index, recording, snaplen) for record in split(records))
        for index, recording in enumerate(recordings)
    ]
    merged = heapq.merge(*streams, key=time_of)
    while batch := list(islice(merged, _BATCH)):
        kept = batch if room is None else _fitting(batch, room)
        file.write(b"".join(kept))
        for index, recording in enumerate(recordings):
            own = [record for record in kept if interface_of(record) == index]
            recording.note(len(own), memoryview(b"".join(own)))
        if room is not None:
            room -= sum(map(len, kept))
            if len(kept) < len(batch):
                return


def _converted(index: int, recording: Recording, snaplen: int) -> Iterator[tuple[int, memoryview]]:
    """Block by block: how many packets, and their records, which are overwritten when the next block is asked for."""
    converter = Converter(index, snaplen)
    target = bytearray(recording.spool.block_bytes)
    with memoryview(target) as view:
        for source, start in recording.spool.blocks():
            packets, end = converter.convert(source, start, target)
            with view[:end] as records:
                yield packets, records


def _fitting(batch: list[bytes], room: int) -> list[bytes]:
    """The first records that together take at most `room` bytes."""
    taken = 0
    for count, record in enumerate(batch):
        taken += len(record)
        if taken > room:
            return batch[:count]
    return batch


def _statistics(recordings: list[Recording]) -> bytes:
    return b"".join(recording.statistics(index) for index, recording in enumerate(recordings))
