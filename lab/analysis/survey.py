"""One pass over capture files: batches of packets taken apart, joined to their connections, and remembered.

Memory stays bounded: the columns of packets are kept only up to a limit, and a capture longer than that is read again
when its packets are asked for; of very many connections, those not touched lately lie in files (`spill.py`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lab.analysis.capture_file import BATCH_PACKETS, BATCHES_VALID, Batch, CaptureReader, Interface
from lab.analysis.connections import follow
from lab.analysis.endpoints import address_row, with_slots
from lab.analysis.packet_records import PACKET, WORK
from lab.analysis.packets import dissect
from lab.analysis.spill import Spill
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
    spill: Spill = field(default_factory=Spill)
    """Where the state's large arrays lie."""


def survey(
    paths: Sequence[Path],
    originators: Sequence[str] = (),
    *,
    spill: Spill | None = None,
    chunk_packets: int = CHUNK_PACKETS,
) -> tuple[Survey, Iterator[Records]]:
    """Start a pass; the iterator drives it, and yields the packets in chunks, each its own memory.

    A file that is broken ends where it is broken; its error is noted and the next file goes on.
    """
    result = Survey(state=_with_originators(empty_state(), originators), spill=spill or Spill())
    return result, _drive(result, paths, chunk_packets)


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


@dataclass(kw_only=True)
class _Dissected:
    """A batch taken apart, on its way from one thread to the other."""

    batch: Batch
    works: Records
    chunk: Records
    first: int
    """Where in the chunk its packets stand."""


class _Reading:
    """Reads all files and takes their packets apart, in a thread of its own while another one follows connections.

    The loops of both run without the interpreter lock. Batches go through a short queue; `None` ends it.
    """

    def __init__(self, result: Survey, paths: Sequence[Path], chunk_packets: int) -> None:
        self.queue: queue.Queue[_Dissected | BaseException | None] = queue.Queue(BATCHES_VALID - 2)
        self._result = result
        self._paths = paths
        self._chunk_packets = chunk_packets
        self._works = np.empty((BATCHES_VALID, BATCH_PACKETS), WORK)
        self._chunk = np.empty(0, PACKET)
        self._used = self._turn = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dissect", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, also when nobody wants the rest."""
        self._stopped.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self.queue.get(timeout=0.05)
        self._thread.join()

    def _run(self) -> None:
        try:
            for path in self._paths:
                self._read(path)
                if self._stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
            self.queue.put(error)
        else:
            self.queue.put(None)

    def _read(self, path: Path) -> None:
        """Take one file apart; where it is broken, note that and go on."""
        reader = CaptureReader(path)
        captures = self._result.captures
        first_capture = len(captures)
        try:
            for batch in reader.batches():
                _meet_interfaces(self._result, reader, first_capture)
                self._dissect(reader, batch, first_capture)
                if self._stopped.is_set():
                    return
        except CaptureFileBroken as error:
            self._result.errors.append(error)
            _meet_interfaces(self._result, reader, first_capture)
            if len(captures) == first_capture:
                captures.append(CaptureRecord(file=path, interface=Interface(linktype=0, snaplen=0)))
            captures[-1].error = error
        _meet_interfaces(self._result, reader, first_capture)

    def _dissect(self, reader: CaptureReader, batch: Batch, first_capture: int) -> None:
        """Take one batch apart and hand it on."""
        if self._used + batch.count > len(self._chunk):
            small = len(self._chunk) == 0 and batch.count < BATCH_PACKETS  # probably all there is
            self._chunk, self._used = np.empty(batch.count if small else self._chunk_packets, PACKET), 0
        works = self._works[self._turn]
        self._turn = (self._turn + 1) % BATCHES_VALID
        dissect(batch.buffer, batch.frames, batch.count, reader.interface_table, self._chunk, self._used, works)
        _count(self._result.captures, batch, first_capture)
        self.queue.put(_Dissected(batch=batch, works=works, chunk=self._chunk, first=self._used))
        self._used += batch.count


def _drive(result: Survey, paths: Sequence[Path], chunk_packets: int) -> Iterator[Records]:
    """Follow what the reading thread takes apart, and yield each chunk when it is full."""
    reading = _Reading(result, paths, chunk_packets)
    chunk, used = None, 0
    try:
        while (got := reading.queue.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            if chunk is not None and got.chunk is not chunk:
                yield chunk[:used]
                result.spill.forget()
            chunk, count = got.chunk, got.batch.count
            state = with_slots(result.spill.with_room(result.state, count), count)
            result.state = state
            follow(got.batch.buffer, chunk, got.first, result.packets, count, got.works, state)
            result.packets += count
            used = got.first + count
        if chunk is not None:
            yield chunk[:used]
    finally:
        reading.close()
        result.spill.close()
        # Only finding pairs needs the hash tables; all that is left to do is reading rows.
        result.state = result.state._replace(slots=np.zeros(1, np.uint64), address_slots=np.zeros(1, np.uint32))


def _meet_interfaces(result: Survey, reader: CaptureReader, first_capture: int) -> None:
    """Give each interface that the reader found since then its number among all captures."""
    known = len(result.captures) - first_capture
    for interface in reader.interfaces[known:]:
        reader.interface_table["capture"][known] = len(result.captures)
        result.captures.append(CaptureRecord(file=reader.path, interface=interface))
        known += 1
    reader.interface_table["capture"] = first_capture + np.arange(len(reader.interfaces))


def _count(captures: list[CaptureRecord], batch: Batch, first_capture: int) -> None:
    """Count a batch for its interfaces."""
    numbers, times = batch.frames.interface[: batch.count], batch.frames.t_ns[: batch.count]
    lowest, highest = int(numbers.min()), int(numbers.max())
    for number in [lowest] if lowest == highest else np.unique(numbers).tolist():
        mine = times if lowest == highest else times[numbers == number]
        record = captures[first_capture + number]
        record.packets += mine.size
        low, high = int(mine.min()), int(mine.max())
        record.first_ns = low if record.first_ns is None else min(record.first_ns, low)
        record.last_ns = high if record.last_ns is None else max(record.last_ns, high)
