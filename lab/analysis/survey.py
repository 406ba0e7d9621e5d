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
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lab.analysis import kept_memory
from lab.analysis.capture_file import BATCH_PACKETS, BATCHES_VALID, Batch, CaptureReader, Interface
from lab.analysis.compiled import straight
from lab.analysis.connections import follow
from lab.analysis.endpoints import address_row, resolve, room_in_slots, with_slots
from lab.analysis.packet_records import PACKET, WORK
from lab.analysis.packets import dissect
from lab.analysis.spill import Spill
from lab.analysis.state import ORIGINATORS_GIVEN, State, empty_state, with_room
from lab.errors import CaptureFileBroken

CHUNK_PACKETS = 16 * BATCH_PACKETS
RESOLVE, FOLLOW = straight(resolve), straight(follow)
THREADS = BATCHES_VALID
"""Each has a batch in hand."""
THREAD_NAME = "survey"
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
class _Task:
    """A batch that was read, and where it belongs."""

    number: int
    """Its place among all batches: when its turn comes to be followed."""
    batch: Batch
    interfaces: Records
    chunk: Records
    first: int
    """Where in the chunk its packets stand."""


class _Turns:
    """What only one thread does at a time, and in the order of the batches."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._stopped = False

    def wait(self, number: int) -> bool:
        """Wait for the turn of a batch; False where nobody wants more."""
        if self._next != number:  # else nobody but this thread can change that
            with self._changed:
                while self._next != number and not self._stopped:
                    self._changed.wait()
        return not self._stopped

    def next(self) -> None:
        """Let the batch after this one have its turn."""
        with self._changed:
            self._next += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


class _Pass:
    """One pass over all files, by two threads that take the batches by turns.

    While one follows the connections of its batch, the other reads the next one, takes it apart and finds its pairs.
    Three things keep the order of the batches, and only one thread does each at a time: reading, finding pairs,
    following. The loops run without the interpreter lock. A batch stays with its thread: the 160 bytes a packet that
    taking apart leaves to following lie in the caches of that processor, and fetching them from another one's would
    make following half as slow again.
    """

    def __init__(self, result: Survey, paths: Sequence[Path], chunk_packets: int) -> None:
        self.chunks: queue.Queue[Records | BaseException | None] = queue.Queue(1)
        """Full chunks, in order; or an error. Each thread leaves a None when it ends."""
        self.chunk, self.used = np.empty(0, PACKET), 0
        """The chunk that is being followed, and how far."""
        self._result = result
        self._chunk_packets = chunk_packets
        self._tasks = self._read(paths)
        self._reading = threading.Lock()
        self._resolving, self._following = _Turns(), _Turns()
        self._resolved = 0
        """Packets whose pairs are known; `Survey.packets` of them have been followed."""
        self._room = 0
        """Packets whose pairs may still be found before anybody has to look whether the state must grow."""
        self._stopped = False
        self.threads = [threading.Thread(target=self._run, name=THREAD_NAME, daemon=True) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """End the threads, also when nobody wants the rest."""
        self._stop()
        for thread in self.threads:
            while thread.is_alive():
                with contextlib.suppress(queue.Empty):
                    self.chunks.get(timeout=0.05)
            thread.join()

    def _stop(self) -> None:
        self._stopped = True
        self._resolving.stop()
        self._following.stop()

    def _run(self) -> None:
        try:
            works = kept_memory.empty(BATCH_PACKETS, WORK)
            while (task := self._next_task()) is not None:
                batch = task.batch
                dissect(batch.buffer, batch.frames, batch.count, task.interfaces, task.chunk, task.first, works)
                if not self._resolving.wait(task.number) or not self._make_room(task):
                    return
                RESOLVE(task.chunk, task.first, batch.count, works, self._result.state)
                self._resolved += batch.count
                self._resolving.next()
                if not self._following.wait(task.number):
                    return
                self._follow(task, works)
                self._following.next()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that asked
            self._stop()
            self.chunks.put(error)
        finally:
            self.chunks.put(None)

    def _make_room(self, task: _Task) -> bool:
        """Make room for all that a batch may add, whose pairs are to be found; False where nobody wants more.

        Records that move must not be written to meanwhile, so whoever follows ends first. That is rare: arrays double.
        """
        result, packets = self._result, task.batch.count
        if self._room < packets:
            self._room = self._room_left() - (self._resolved - result.packets)
        if self._room < packets:
            if not self._following.wait(task.number):
                return False
            result.state = with_slots(result.spill.with_room(result.state, packets), packets)
            self._room = self._room_left()
        self._room -= packets
        return True

    def _room_left(self) -> int:
        return min(self._result.spill.room(self._result.state), room_in_slots(self._result.state))

    def _next_task(self) -> _Task | None:
        with self._reading:
            return None if self._stopped else next(self._tasks, None)

    def _read(self, paths: Sequence[Path]) -> Iterator[_Task]:
        """Yield the batches of all files; where a file is broken, note that and go on with the next."""
        numbers = count()
        chunk, used = np.empty(0, PACKET), 0
        captures = self._result.captures
        for path in paths:
            reader = CaptureReader(path)
            first_capture = len(captures)
            try:
                for batch in reader.batches():
                    _meet_interfaces(self._result, reader, first_capture)
                    if used + batch.count > len(chunk):
                        small = len(chunk) == 0 and batch.last  # all there is of most captures
                        chunk, used = kept_memory.empty(batch.count if small else self._chunk_packets, PACKET), 0
                    yield _Task(
                        number=next(numbers), batch=batch, interfaces=reader.interface_table, chunk=chunk, first=used
                    )
                    used += batch.count
            except CaptureFileBroken as error:
                self._result.errors.append(error)
                _meet_interfaces(self._result, reader, first_capture)
                if len(captures) == first_capture:
                    captures.append(CaptureRecord(file=path, interface=Interface(linktype=0, snaplen=0)))
                captures[-1].error = error
            _meet_interfaces(self._result, reader, first_capture)
            _note_counts(captures[first_capture:], reader)

    def _follow(self, task: _Task, works: Records) -> None:
        """Follow the connections of a batch, whose turn it is."""
        result, packets = self._result, task.batch.count
        if task.chunk is not self.chunk:
            if self.used:
                self.chunks.put(self.chunk[: self.used])
                result.spill.forget()
            self.chunk = task.chunk
        FOLLOW(task.batch.buffer, task.chunk, task.first, result.packets, packets, works, result.state)
        result.packets += packets
        self.used = task.first + packets


def _drive(result: Survey, paths: Sequence[Path], chunk_packets: int) -> Iterator[Records]:
    """Yield each chunk when it is full and followed."""
    passing = _Pass(result, paths, chunk_packets)
    try:
        running = len(passing.threads)
        while running:
            got = passing.chunks.get()
            if isinstance(got, BaseException):
                raise got
            if got is None:
                running -= 1
            else:
                yield got
        if passing.used:
            yield passing.chunk[: passing.used]
    finally:
        passing.close()
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


def _note_counts(captures: list[CaptureRecord], reader: CaptureReader) -> None:
    """Note how many packets of each interface a file had, and when, now that it is through."""
    for record, row in zip(captures, reader.interface_table, strict=False):  # none where even the header was broken
        record.packets = int(row["packets"])
        if record.packets:
            record.first_ns, record.last_ns = int(row["first_ns"]), int(row["last_ns"])
