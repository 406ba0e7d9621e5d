"""The pcapng file made of recordings after the stop, by a sidecar that was started by hand.

In: rings that have been shut and drained, with what was spooled. Out: one file: section header, an interface
description each, the packets (of several interfaces in the order of time), and an interface statistics block each.
(`lab/analysis/ring_blocks.py` makes the same bytes of what a sidecar leaves in a run of the lab; a test compares them.)
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

from lab.inside.recording import Recording, head, statistics
from lab.inside.records import Converter, interface_of, split, time_of, time_of_last

_BATCH = 1024


def write_capture(
    file: BinaryIO, recordings: list[Recording], snaplen: int, capture_filter: str, *, cap: int | None
) -> None:
    """Write the whole file and account for every packet in its recording; `cap` bounds the file's bytes."""
    before = head(recordings, snaplen, capture_filter)
    room = None if cap is None else cap - len(before) - len(statistics(recordings))
    file.write(before)
    if len(recordings) == 1:
        _write_as_it_comes(file, recordings[0], snaplen, room)
    else:
        write_one_by_one(file, recordings, snaplen, room)
    for recording in recordings:
        recording.truncated = cap is not None and recording.written < recording.ring.packets - recording.ring.drops
    file.write(statistics(recordings))


def _note(recording: Recording, packets: int, records: memoryview) -> None:
    """Account for records of this interface, in order, that went to the file."""
    if packets:
        if recording.first_ns is None:
            recording.first_ns = time_of(records)
        recording.last_ns = time_of_last(records)
        recording.written += packets


def _write_as_it_comes(file: BinaryIO, recording: Recording, snaplen: int, room: int | None) -> None:
    """The common case, one interface: block by block, without looking at single packets but in the block that ends at
    the cap.
    """
    for packets, records in _converted(0, recording, snaplen):
        if room is not None and len(records) > room:
            kept = _fitting(list(split(records)), room)
            file.write(b"".join(kept))
            _note(recording, len(kept), memoryview(b"".join(kept)))
            return
        file.write(records)
        _note(recording, packets, records)
        if room is not None:
            room -= len(records)


def write_one_by_one(file: BinaryIO, recordings: list[Recording], snaplen: int, room: int | None) -> None:
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
            _note(recording, len(own), memoryview(b"".join(own)))
        if room is not None:
            room -= sum(map(len, kept))
            if len(kept) < len(batch):
                return


def _converted(index: int, recording: Recording, snaplen: int) -> Iterator[tuple[int, memoryview]]:
    """Block by block: how many packets, and their records, which are overwritten when the next block is asked for."""
    converter = Converter(index, snaplen)
    spool: Any = recording.spool  # never a stream, whose packets are in its file
    target = bytearray(spool.block_bytes)
    with memoryview(target) as view:
        for source, start in spool.blocks():
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
