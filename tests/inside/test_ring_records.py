"""Ring blocks become the same pcapng records by machine code and in the interpreter, whatever packets they hold."""

from __future__ import annotations

import random
import struct
from array import array

import pytest

from lab.inside import machine_code, ring_records
from lab.inside.native import Memory
from lab.inside.records import Converter, split

SNAPLENS = (1, 12, 13, 14, 15, 16, 40, 128, 262144)
ROOM = 1 << 16


def block(chance: random.Random) -> bytes:
    """A block as the kernel lays it out, of packets of every kind."""
    records = []
    for _ in range(chance.randint(1, 40)):
        captured = chance.choice((0, 1, 11, 12, 13, 14, 40, 60, 66, 128, 131, 1514))
        status = chance.choice((0, 1 << 3, 1 << 4, 1 << 4 | 1 << 6, 1 << 3 | 1 << 4 | 1 << 6))
        offset = chance.choice((66, 82, 83, 96))
        header = struct.pack(
            "=4xIIIIIHHIIH10x",
            chance.choice((0, 1_700_000_000, 2**32 - 1)),
            chance.randrange(10**9),
            captured,
            captured + chance.choice((0, 1400)),
            status,
            offset,
            offset + 14,
            0,
            chance.randrange(1 << 16),
            chance.choice((0x8100, 0x88A8)),
        )
        address = struct.pack("=HHiHBB8x", 17, 8, 1, 1, chance.choice((0, 1, 2, 3, 4, 5, 7, 8, 255)), 6)
        record = (header + address).ljust(offset, b"\xff")[:offset] + chance.randbytes(captured)
        records.append(record + bytes(-len(record) % 16))
    content = b"".join(
        (len(record) if n < len(records) else 0).to_bytes(4, "little") + record[4:]
        for n, record in enumerate(records, start=1)
    )
    return struct.pack("=12xIII", len(records), 48, 48 + len(content)).ljust(48, b"\0") + content


@pytest.mark.usefixtures("machine_code_made")
@pytest.mark.parametrize("seed", range(30))
def test_machine_code_and_interpreter_make_the_same_records(seed: int) -> None:
    code = machine_code.load(ring_records.__file__, calls=ring_records.FUNCTIONS, arguments=5)
    chance = random.Random(seed)
    blocks, snaplen = [block(chance) for _ in range(3)], chance.choice(SNAPLENS)
    ring = bytearray(b"".join(content.ljust(ROOM, b"\xff") for content in blocks))
    it, out = array("q", bytes(8 * ring_records.SIZE)), bytearray(b"\xff" * 3 * ROOM)
    it[ring_records.INTERFACE], it[ring_records.SNAPLEN] = 7, snaplen
    ring_at, out_at = Memory.of(ring).address, Memory.of(out).address
    converter, target = Converter(7, snaplen), bytearray(b"\xee" * ROOM)
    expected, packets = b"", 0
    for number, content in enumerate(blocks):
        it[ring_records.START] = number * ROOM
        code(it.buffer_info()[0], ring_at, ring_at, out_at, out_at)
        count, end = converter.convert(bytes(ring), number * ROOM, target)
        assert it[ring_records.PACKETS] == count
        assert end <= len(content), "what pcapng adds to a packet is less than what the kernel does"
        expected, packets = expected + target[:end], packets + count
    assert out[: it[ring_records.MADE]] == expected
    assert set(out[it[ring_records.MADE] :]) == {0xFF}, "nothing behind the last record was touched"
    assert len(split(memoryview(expected))) == packets


def test_a_record_says_what_the_kernel_said() -> None:
    """By hand: a tagged broadcast of 20 bytes at a snaplen of 22, so that two bytes of it go for the tag."""
    packet = bytes(range(20))
    header = struct.pack("=IIIIIIHHIIH10x", 0, 3, 5, 20, 60, 1 << 3 | 1 << 4, 68, 82, 0, 0x2007, 0)
    address = struct.pack("=HHiHBB8x", 17, 8, 1, 1, 1, 6)
    content = struct.pack("=12xIII", 1, 48, 48 + 88).ljust(48, b"\0") + header + address + packet
    target = bytearray(ROOM)
    assert Converter(2, 22).convert(content, 0, target) == (1, 68)
    t = 3 * 10**9 + 5
    assert bytes(target[:68]) == (
        struct.pack("=IIIIIII", 6, 68, 2, t >> 32, t & 0xFFFFFFFF, 22, 64)
        + packet[:12]
        + bytes.fromhex("81002007")
        + packet[12:18]
        + bytes(2)
        + struct.pack("=HHIII", 2, 4, 0b011_01 | 1 << 9, 0, 68)
    )
