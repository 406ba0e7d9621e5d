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
from lab.inside.records import Converter, interface_of, time_of
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

    def note(self, records: list[bytes], size: int) -> None:
        """Account for records of this interface, in order, that went to the file and together have `size` bytes."""
        if self.first_ns is None:
            self.first_ns = time_of(records[0])
        self.last_ns = time_of(records[-1])
        self.written += len(records)
        self.written_bytes += size

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
    room = None if cap is None else cap - len(head) - len(_statistics(recordings))
    file.write(head)
    for batch in _batches(recordings):
        kept = batch if room is None else _fitting(batch, room)
        packed = b"".join(kept)
        file.write(packed)
        if len(recordings) == 1 and kept:
            recordings[0].note(kept, len(packed))
        elif kept:
            for index, recording in enumerate(recordings):
                if own := [record for record in kept if interface_of(record) == index]:
                    recording.note(own, sum(map(len, own)))
        if room is not None:
            room -= len(packed)
            if len(kept) < len(batch):
                break
    for recording in recordings:
        recording.truncated = recording.written < recording.ring.packets - recording.ring.drops and cap is not None
    file.write(_statistics(recordings))


def _batches(recordings: list[Recording]) -> Iterator[list[bytes]]:
    """All packets as records, some at a time; of several interfaces merged by time."""
    if len(recordings) == 1:
        yield from _converted(0, recordings[0])
        return
    streams = [
        (record for batch in _converted(index, recording) for record in batch)
        for index, recording in enumerate(recordings)
    ]
    merged = heapq.merge(*streams, key=time_of)
    while batch := list(islice(merged, _BATCH)):
        yield batch


def _converted(index: int, recording: Recording) -> Iterator[list[bytes]]:
    converter = Converter(index)
    for block in recording.spool.blocks():
        yield converter.records(block)


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
