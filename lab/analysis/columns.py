"""The arrays that rows are written to before they become tables: one place a packet, a connection, or a side of one.

All columns of one type lie in one two-dimensional array, a row of it a column: so the compiled loops take five arrays
instead of sixty, and a table's columns are these rows as they are, not copies. The names below are places in them, by
type. Codes are those of `words.py`; meanings stand in `tables.py`.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from lab.analysis import kept_memory

NOT_KNOWN = np.int64(-(1 << 62))
"""Stands for null in 64-bit columns."""


class Columns(NamedTuple):
    """Columns by type. Flags (0 or 1) and codes are `u8`."""

    i64: Any
    u32: Any
    i32: Any
    u16: Any
    u8: Any


SPREAD = 64
"""Places between two columns that nobody uses.

Loops write all columns of a row, then those of the next. Columns a power of two apart would compete for the same few
lines of every cache; these lie side by side there.
"""


def _room(counts: Columns, places: int) -> Columns:
    """Make `counts` columns of each type with so many places (and `SPREAD` more), in one piece of memory.

    One large piece the system can map by huge pages, at a fraction of the time.
    """
    kinds = Columns(*(np.dtype(kind) for kind in (np.int64, np.uint32, np.int32, np.uint16, np.uint8)))
    width = (places + SPREAD - 1) // SPREAD * SPREAD + SPREAD
    sizes = [columns * width * kind.itemsize for columns, kind in zip(counts, kinds, strict=True)]
    memory = kept_memory.empty(sum(sizes), np.uint8)
    starts = accumulate(sizes, initial=0)
    return Columns(
        *(
            memory[start : start + size].view(kind).reshape(columns, width)
            for start, size, columns, kind in zip(starts, sizes, counts, kinds, strict=False)
        )
    )


# A connection as a whole.
# i64
START_NS, DURATION_NS, RESET_NS, SYN_ACK_RTT_NS, ACK_RTT_NS, FIRST_PACKET, LAST_PACKET = range(7)
# u32
ORIG_ADDRESS, RESP_ADDRESS, HISTORY, SYNS, SYN_ACKS, CAPTURE_DUPLICATES, ICMP_ERRORS = range(7)
# i32
PREVIOUS, ICMP_TYPE, ICMP_CODE = range(3)
# u16
ORIG_PORT, RESP_PORT, CAPTURE = range(3)
# u8
(
    IP_VERSION, HANDSHAKE, REASON, VARIANT, REORDERED, TEARDOWN, RESET, RESET_BY, CLOSER, TIME_WAIT, CONN_STATE,
    EVIDENCE_LOST, WINDOW_SCALING, SACK, TIMESTAMPS, FAST_OPEN_OPTION,
) = range(16)  # fmt: skip

# One side of a connection; an array has two places a connection, first all originators, then all responders.
# i64
SIDE_BYTES, SIDE_MISSING_BYTES, SIDE_ISN, SIDE_RTT_MIN_NS, SIDE_RTT_MEAN_NS = range(5)
# u32
(
    SIDE_PACKETS, SIDE_NEW, SIDE_RETRANSMISSIONS, SIDE_PARTIAL, SIDE_FAST, SIDE_TIMEOUT, SIDE_SPURIOUS,
    SIDE_RETRANSMITTED_BYTES, SIDE_OUT_OF_ORDER, SIDE_KEEP_ALIVES, SIDE_PROBES, SIDE_DUPLICATE_ACKS,
    SIDE_ZERO_WINDOWS, SIDE_SUPER_SEGMENTS, SIDE_PURE_ACKS, SIDE_FINS, SIDE_RESETS, SIDE_RTT_SAMPLES,
) = range(18)  # fmt: skip
# i32
SIDE_MSS, SIDE_WSCALE = range(2)
# u8
SIDE_SACK, SIDE_TIMESTAMPS = range(2)

# A packet.
# i64
T_NS = 0
# u32
(
    CAPTURED, ORIGINAL, SEQ, ACK_NUMBER, TIMESTAMP_VALUE, TIMESTAMP_ECHO, PAYLOAD, CONNECTION, FLOW,
    SOURCE_ADDRESS, DESTINATION_ADDRESS, RELATIVE_SEQ, RELATIVE_ACK, WINDOW,
) = range(14)  # fmt: skip
# u16
INTERFACE, VLAN, IP_ID, SOURCE_PORT, DESTINATION_PORT, FLAGS, MARKS, KNOWN = range(8)
# u8
VERSION, PROTOCOL, TTL, SACK_BLOCKS, DIRECTION, SEGMENT_CLASS, RETRANSMISSION_KIND = range(7)


def connection_columns(count: int) -> tuple[Columns, Columns]:
    """Make room for `count` connections and for their sides."""
    return _room(Columns(7, 7, 3, 3, 16), count), _room(Columns(5, 18, 2, 0, 2), 2 * count)


def packet_columns(count: int) -> Columns:
    """Make room for `count` packets."""
    return _room(Columns(1, 14, 0, 8, 7), count)
