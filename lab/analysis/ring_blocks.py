"""Make the capture file of what a sidecar leaves in a run: blocks of its ring, as the kernel laid them out.

In: a folder with `capture.frame` (a pcapng file without packets) and `capture.0.blocks`, `capture.1.blocks`, one for
each interface of the frame. Out: the pcapng file: the packets of all interfaces in the order of time, each interface's
in the order of its ring, with nanoseconds, direction, and a VLAN tag that the kernel had set aside put back where it
was on the wire. Byte for byte what the sidecar writes when it is started by hand (`lab/inside/records.py`, which
explains the kernel's record): a test compares them.

The loop is one pass over the packets in compiled code: 100,000 packets in some 9 ms, file to file, where Python takes
150. Of these the loop is 3; the rest is the kernel's work on 17 MB that come in and 12 that go out. So the room for the
output is asked for at once: where it is not, ext4 reserves it block by block, which makes writing half as dear again.
In memory stands one piece of the output; the input is mapped.

Format of the input: linux/if_packet.h, struct tpacket_block_desc and tpacket3_hdr.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lab.analysis.compiled import inlined, kernel
from lab.analysis.copying import copy_bytes

FRAME = "capture.frame"
_SHARED_AT_ONCE = mmap.MAP_SHARED | mmap.MAP_POPULATE
"""One system call maps it all, rather than a fault for every few packets."""
_INTERFACE_STATISTICS = 5
_INTERFACE_DESCRIPTION = 1
_PIECE_BYTES = 2 << 20
"""Of the output, made before it is written: few system calls, and still what a processor's last cache holds."""
_LARGEST_RECORD = 1 << 19
"""More than any packet's record takes: a packet has at most 262,144 bytes, a block of the ring no more."""
_BLOCK = struct.Struct("=12xIII")
"""struct tpacket_block_desc: packets, offset of the first, bytes used."""
# What the kernel says of a packet, by the offset of each 32-bit word in its record (struct tpacket3_hdr, sockaddr_ll).
_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _LENGTH, _STATUS, _TAG = 0, 1, 2, 3, 4, 5, 8
_MAC_OFFSET, _TAG_PROTOCOL, _PACKET_TYPE = 24, 36, 58  # bytes
_LAST_BYTE = 67  # of the kernel's words
_FLAGS = (0b001_01, 0b011_01, 0b010_01, 0b100_01, 0b000_10)
"""epb_flags by packet type, PACKET_HOST to PACKET_OUTGOING; `lab/inside/records.py` says what they mean."""
_CSUM_NOT_READY, _VLAN_VALID, _VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
_ETH_P_8021Q = 0x8100
_MAC_ADDRESSES = 12


class BlocksBroken(Exception):
    """What a sidecar left contradicts itself."""


def left_here(folder: Path) -> bool:
    """Whether a sidecar left blocks in this folder that no capture file was made of yet."""
    return (folder / FRAME).exists()


def make_capture(folder: Path, target: Path) -> None:
    """Write the capture file of what a sidecar left in `folder`, and remove that.

    Raises: BlocksBroken.
    """
    frame = (folder / FRAME).read_bytes()
    interfaces, before = _frame(frame)
    files = [folder / f"capture.{index}.blocks" for index in range(len(interfaces))]
    partial = target.with_suffix(".partial")
    raws = [_mapped(file) for file in files]
    with partial.open("wb", buffering=0) as out:
        with suppress(OSError):  # it only helps; what does not fit, writing will say
            os.posix_fallocate(out.fileno(), 0, len(frame) + sum(map(len, raws)))
        out.write(frame[:before])
        for piece in _records(raws, interfaces):
            out.write(piece)
        out.write(frame[before:])
        out.truncate()
    partial.rename(target)
    for file in (*files, folder / FRAME):
        file.unlink()


def convert_nothing() -> None:
    """Load the compiled loop (or compile it) by a conversion without packets."""
    for _piece in _records([np.empty(0, np.uint8)], [0]):
        pass


def _frame(frame: bytes) -> tuple[list[int], int]:
    """Snaplen by interface, and where the statistics begin."""
    snaplens: list[int] = []
    at = 0
    while at < len(frame):
        kind, size = struct.unpack_from("=II", frame, at)
        if kind == _INTERFACE_STATISTICS:
            return snaplens, at
        if kind == _INTERFACE_DESCRIPTION:
            snaplens.append(struct.unpack_from("=I", frame, at + 12)[0])
        at += size
    raise BlocksBroken(f"{FRAME}: interface statistics are needed, got none in {len(frame)} bytes")


def _mapped(file: Path) -> Any:
    """The file's bytes, where the page cache has them."""
    with file.open("rb") as opened:
        if not file.stat().st_size:
            return np.empty(0, np.uint8)
        return np.frombuffer(mmap.mmap(opened.fileno(), 0, flags=_SHARED_AT_ONCE, prot=mmap.PROT_READ), np.uint8)


def _records(raws: list[Any], snaplens: list[int]) -> Iterator[memoryview]:
    """Enhanced packet blocks of all interfaces, a piece at a time; valid until the next one is asked for."""
    starts = [_block_starts(raw) for raw in raws]
    first = np.cumsum([0, *(len(s) for s in starts)])
    shift = np.cumsum([0, *(len(raw) for raw in raws)])
    raw = raws[0] if len(raws) == 1 else np.concatenate(raws)  # several are rare, and small
    raw.flags.writeable = False  # as a mapped file is: else the loop is compiled for either
    blocks = np.concatenate([s + shift[i] for i, s in enumerate(starts)]).astype(np.int64)
    cursor = np.zeros((len(raws), 3), np.int64)
    cursor[:, 0] = first[:-1] - 1
    out = np.empty(_PIECE_BYTES, np.uint8)
    view = memoryview(out)  # type: ignore[arg-type]
    words, out_words = raw.view(np.uint32), out.view(np.uint32)
    limits = np.array(snaplens, np.int64)
    while made := convert(raw, words, blocks, first[1:], limits, cursor, out, out_words):
        if made < 0:
            raise BlocksBroken(f"a packet reaches beyond the end of its blocks at {len(raw)}")
        yield view[:made]


def _block_starts(raw: Any) -> Any:
    """Where each block begins: the end of the one before."""
    starts = []
    at = 0
    while at < len(raw):
        packets, _first, used = _BLOCK.unpack_from(raw, at)
        if used < 48 or used % 4 or at + used > len(raw):
            raise BlocksBroken(f"block at {at}: 48 to {len(raw) - at} bytes in whole words are possible, got {used}")
        if packets:
            starts.append(at)
        at += used
    return np.array(starts, np.int64)


@inlined
def _next_packet(words: Any, blocks: Any, end: int, cursor: Any) -> None:
    """Move an interface's cursor (block, packets left in it, record) to its next packet; record -1: no more."""
    if cursor[1] > 0:
        cursor[1] -= 1
        cursor[2] += words[cursor[2] >> 2]
        return
    cursor[0] += 1
    if cursor[0] >= end:
        cursor[2] = -1
        return
    start = blocks[cursor[0]]
    cursor[1] = words[(start >> 2) + 3] - 1
    cursor[2] = start + words[(start >> 2) + 4]


@kernel
def convert(raw: Any, words: Any, blocks: Any, ends: Any, snaplens: Any, cursor: Any, out: Any, out_words: Any) -> int:
    """Fill `out` with enhanced packet blocks, the earliest packet of all interfaces next; returns the bytes made.

    `raw` and `words` are the same bytes, so are `out` and `out_words`. `blocks` are the starts of all blocks, those of
    interface i up to `ends[i]`; `cursor` (a row an interface: block, packets left in it, record) is where the last call
    stopped, at first the block before the interface's first one. -1: a packet would reach beyond the input.
    """
    interfaces = len(ends)
    if cursor[0, 2] == 0:
        for i in range(interfaces):
            _next_packet(words, blocks, ends[i], cursor[i])
    made = 0
    while made + _LARGEST_RECORD <= len(out):
        chosen = -1
        earliest = np.uint64(0)
        for i in range(interfaces):
            record = cursor[i, 2]
            if record >= 0:
                if record + _LAST_BYTE >= len(raw):
                    return -1
                word = record >> 2
                t = np.uint64(words[word + _SECONDS]) * np.uint64(1_000_000_000) + np.uint64(words[word + _NANOSECONDS])
                if chosen < 0 or t < earliest:
                    chosen = i
                    earliest = t
        if chosen < 0:
            break
        record = cursor[chosen, 2]
        word = record >> 2
        captured = np.int64(words[word + _CAPTURED])
        length = np.int64(words[word + _LENGTH])
        status = words[word + _STATUS]
        source = record + np.int64(raw[record + _MAC_OFFSET]) + (np.int64(raw[record + _MAC_OFFSET + 1]) << 8)
        if source + captured > len(raw) or captured > _LARGEST_RECORD - 64:
            return -1
        kind = raw[record + _PACKET_TYPE]
        flags = _FLAGS[kind] if kind < len(_FLAGS) else 0
        if status & _CSUM_NOT_READY:
            flags |= 1 << 9
        tag_bytes = 4 if status & _VLAN_VALID and captured >= _MAC_ADDRESSES else 0
        data = min(captured + tag_bytes, max(captured, snaplens[chosen]))
        padded = (data + 3) & ~3
        size = 28 + padded + 16
        at = made >> 2
        out_words[at] = 6
        out_words[at + 1] = size
        out_words[at + 2] = chosen
        out_words[at + 3] = earliest >> np.uint64(32)
        out_words[at + 4] = earliest & np.uint64(0xFFFFFFFF)
        out_words[at + 5] = data
        out_words[at + 6] = length + tag_bytes
        target = made + 28
        if tag_bytes == 0:
            copy_bytes(out, target, raw, source, data)
        else:
            protocol = np.int64(_ETH_P_8021Q)
            if status & _VLAN_TPID_VALID:
                protocol = np.int64(raw[record + _TAG_PROTOCOL]) + (np.int64(raw[record + _TAG_PROTOCOL + 1]) << 8)
            tag = np.int64(words[word + _TAG]) & 0xFFFF
            tagged = np.int64(_MAC_ADDRESSES) + tag_bytes  # where the bytes behind the tag go
            copy_bytes(out, target, raw, source, min(data, _MAC_ADDRESSES))
            for k in range(_MAC_ADDRESSES, min(data, tagged)):
                out[target + k] = ((protocol << 16) | tag) >> (8 * (tagged - 1 - k)) & 0xFF
            copy_bytes(out, target + tagged, raw, source + _MAC_ADDRESSES, max(data - tagged, 0))
        for k in range(data, padded):
            out[target + k] = 0
        at += 7 + (padded >> 2)
        out_words[at] = 2 | 4 << 16  # epb_flags: code, length
        out_words[at + 1] = flags
        out_words[at + 2] = 0
        out_words[at + 3] = size
        made += size
        _next_packet(words, blocks, ends[chosen], cursor[chosen])
    return made
