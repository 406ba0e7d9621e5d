"""How values become the bytes of a Parquet page: differences in as few bits as they need, and codes of words likewise.

Differences (DELTA_BINARY_PACKED): blocks of 128, each with its smallest difference, and four groups of 32 with what is
above that, packed to the width of the group's largest. Numbers that grow slowly (times, indexes), lie near one another
(lengths, ports, flags) or repeat take a few bits each so, with no dictionary to build.
Codes: one run, packed to the width that the number of words needs.
All loops take numbers as int64, whatever they are in the table: so each is compiled once.

https://github.com/apache/parquet-format/blob/master/Encodings.md
"""

from __future__ import annotations

import numpy as np

from lab.analysis.compiled import inlined, kernel

BLOCK = 128
GROUP = 32
"""Values packed to one width; a block has four groups."""
MOST_BYTES_A_BLOCK = 10 + BLOCK // GROUP + 8 * BLOCK
MOST_BYTES_OF_A_HEAD = 32
TRIED = 16
"""Blocks after which numbers that take no less room than they are wide are left to be written as they are."""


@inlined
def write_number(number, out, at):
    """Write an unsigned number, seven bits a byte, the lowest first; returns the place behind it."""
    left = np.uint64(number)
    while left > np.uint64(127):
        out[at] = np.uint8(left & np.uint64(127)) | np.uint8(128)
        left >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(left)
    return at + 1


@inlined
def zigzag(number):
    """A signed number as an unsigned one that is small where it is near zero."""
    return np.uint64(number << 1) ^ np.uint64(number >> 63)


@inlined
def signed(number, half):
    """A number modulo twice `half`, from `-half` on: what the same bits are as a signed number."""
    return ((number + half) & (2 * half - 1)) - half


@inlined
def width_of(number):
    """How many bits an unsigned number has."""
    width = 0
    for step in (32, 16, 8, 4, 2, 1):
        if number >> np.uint64(step):
            number >>= np.uint64(step)
            width += step
    return width + np.int64(number)


@inlined
def write_word(word, size, out, at):
    """Write the lowest `size` bytes of a number, the lowest first."""
    place = np.uint64(at)
    for k in range(size):
        out[place + np.uint64(k)] = np.uint8((word >> np.uint64(8 * k)) & np.uint64(255))


@inlined
def pack(values, first, low, width, out, at):
    """Write `GROUP` values less `low` at `width` bits each; returns the place behind them."""
    held, bits = np.uint64(0), 0
    for i in range(first, first + GROUP):
        value = np.uint64(values[i]) - np.uint64(low)
        held |= value << np.uint64(bits)
        bits += width
        if bits >= 64:
            write_word(held, 8, out, at)
            at += 8
            bits -= 64
            held = value >> np.uint64(width - bits) if bits else np.uint64(0)
    if bits:  # 32 of them: a group ends at a whole number of half words
        write_word(held, 4, out, at)
        at += 4
    return at


@kernel
def pack_differences(values, narrow, block, out):
    """Write numbers (int64, at least one) as differences; returns the bytes written, 0 where that saves nothing.

    `narrow`: they are of 32 bits. `block` is room for one block, `out` for all of them (`MOST_BYTES_...`).
    """
    half = np.int64(1) << 31
    bits_each = 32 if narrow else 64
    at = write_number(BLOCK, out, 0)
    at = write_number(BLOCK // GROUP, out, at)
    at = write_number(values.size, out, at)
    at = write_number(zigzag(signed(values[0], half) if narrow else values[0]), out, at)
    for first in range(1, values.size, BLOCK):
        count = min(BLOCK, values.size - first)
        low = np.int64(0)
        for i in range(count):
            difference = values[first + i] - values[first + i - 1]
            if narrow:
                difference = signed(difference, half)
            block[i] = difference
            low = difference if i == 0 else min(low, difference)
        for i in range(count, BLOCK):
            block[i] = low
        at = write_number(zigzag(low), out, at)
        widths = at
        at += BLOCK // GROUP
        for group in range(BLOCK // GROUP):
            together = np.uint64(0)
            for i in range(GROUP * group, GROUP * group + GROUP):
                together |= np.uint64(block[i]) - np.uint64(low)
            width = width_of(together)
            out[widths + group] = width
            if width:
                at = pack(block, GROUP * group, low, width, out, at)
        if first > TRIED * BLOCK and 8 * at >= bits_each * (first + count):
            return 0
    return at


@kernel
def keep(values, known, out):
    """Put those values that are known side by side; returns how many they are. `out` has room for one more."""
    count = 0
    for i in range(values.size):
        out[count] = values[i]
        count += known[i]
    return count


@kernel
def note_codes(codes, met):
    """Mark each code that occurs."""
    for i in range(codes.size):
        met[np.uint64(codes[i])] = True


@kernel
def pack_codes(codes, ranks, width, block, out):
    """Write the rank of each code at `width` bits; returns the bytes written.

    The last group is filled up, and so `out` has room for a multiple of `GROUP`.
    """
    at = 0
    for first in range(0, codes.size, GROUP):
        for i in range(GROUP):
            block[i] = ranks[codes[first + i]] if first + i < codes.size else 0
        at = pack(block, 0, np.int64(0), width, out, at)
    return at
