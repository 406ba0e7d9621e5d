"""One pass over capture files: batches of packets taken apart, joined to their connections, and remembered.

Memory stays bounded by the number of connections, not of packets: the columns of packets are kept only up to a limit, and a
capture longer than that is read again when its packets are asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lab.analysis.capture_file import BATCH_PACKETS, CaptureReader, Interface
from lab.analysis.packet_records import PACKET, WORK
from lab.analysis.connections import follow
from lab.analysis.endpoints import address_row, resolve, with_slots
from lab.analysis.packets import dissect
from lab.analysis.state import ORIGINATORS_GIVEN, State, empty_state, with_room
from lab.errors import CaptureFileBroken

CHUNK_PACKETS = 16 * BATCH_PACKETS
Records = npt.NDArray[np.void]
"""Packets as records of `packet_records.PACKET`."""


@dataclass(kw_only=True)
class CaptureRecord:
    """What was read at one interface of one file."""

    file: Path
    interface: Interface
    packets: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    error: CaptureFileBroken | None = None


@dataclass(kw_only=True)
class Survey:
    """What a pass learns: the state at the end, and each interface met."""

    state: State
    captures: list[CaptureRecord] = field(default_factory=list)
    errors: list[CaptureFileBroken] = field(default_factory=list)
    packets: int = 0
    """Packets read from all files."""


def survey(paths: Sequence[Path], originators: Sequence[str] = ()) -> tuple[Survey, Iterator[Records]]:
    """Start a pass; the iterator drives it, and yields the packets in chunks, each its own memory.

    A file that is broken ends where it is broken; its error is noted and the next file goes on.
    """
    result = Survey(state=_with_originators(empty_state(), originators))
    return result, _drive(result, paths)


def _with_originators(state: State, originators: Sequence[str]) -> State:
    """Enter the addresses that the caller says are clients'."""
    state = with_slots(with_room(state, len(originators)), len(originators))
    for text in originators:
        address = ipaddress.ip_address(text)
        high, low = int(address) >> 64, int(address) & 0xFFFF_FFFF_FFFF_FFFF
        row = address_row(state, np.uint64(high), np.uint64(low), np.uint8(address.version))
        state.addresses[row]["originator"] = 1
        state.counts[ORIGINATORS_GIVEN] += 1
    return state


def _drive(result: Survey, paths: Sequence[Path]) -> Iterator[Records]:
    """Read all files through the loops, chunk by chunk."""
    chunk = np.zeros(CHUNK_PACKETS, PACKET)
    used = 0
    work = np.zeros(BATCH_PACKETS, WORK)
    for path in paths:
        reader = CaptureReader(path)
        first_capture = len(result.captures)
        try:
            for batch in reader.batches():
                _meet_interfaces(result, reader, first_capture)
                if used + batch.count > CHUNK_PACKETS:
                    yield chunk[:used]
                    chunk, used = np.zeros(CHUNK_PACKETS, PACKET), 0
                state = with_slots(with_room(result.state, batch.count), batch.count)
                result.state = state
                dissect(batch.buffer, batch.frames, batch.count, reader.interface_table, chunk, used, work)
                resolve(batch.buffer, chunk, used, batch.count, work, state)
                follow(batch.buffer, chunk, used, result.packets, batch.count, work, state)
                _count(result, chunk, used, batch.count)
                used += batch.count
                result.packets += batch.count
        except CaptureFileBroken as error:
            result.errors.append(error)
            _meet_interfaces(result, reader, first_capture)
            if len(result.captures) == first_capture:
                result.captures.append(CaptureRecord(file=path, interface=Interface(linktype=0, snaplen=0)))
            result.captures[-1].error = error
        _meet_interfaces(result, reader, first_capture)
    if used:
        yield chunk[:used]


def _meet_interfaces(result: Survey, reader: CaptureReader, first_capture: int) -> None:
    """Give each interface that the reader found since then its number among all captures."""
    known = len(result.captures) - first_capture
    for interface in reader.interfaces[known:]:
        reader.interface_table["capture"][known] = len(result.captures)
        result.captures.append(CaptureRecord(file=reader.path, interface=interface))
        known += 1
    reader.interface_table["capture"] = first_capture + np.arange(len(reader.interfaces))


def _count(result: Survey, chunk: Records, first: int, count: int) -> None:
    """Count a batch for its interfaces."""
    numbers, times = chunk["capture"][first : first + count], chunk["t_ns"][first : first + count]
    lowest, highest = int(numbers.min()), int(numbers.max())
    for number in [lowest] if lowest == highest else np.unique(numbers).tolist():
        mine = times if lowest == highest else times[numbers == number]
        record = result.captures[number]
        record.packets += mine.size
        low, high = int(mine.min()), int(mine.max())
        record.first_ns = low if record.first_ns is None else min(record.first_ns, low)
        record.last_ns = high if record.last_ns is None else max(record.last_ns, high)
