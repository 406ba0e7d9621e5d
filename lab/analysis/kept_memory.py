"""Large arrays whose memory stays with this process when they are no longer needed, for the next ones like them.

An analysis of a million packets takes 300 MiB and gives them back. Memory fresh from the system has to be cleared, page
by page, and on a virtual machine may first have to be asked from its host: a quarter of all processor time of an
analysis that follows another, as a run's do, one a vantage. So memory that large arrays had is kept, up to
`MOST_KEPT`, and given to the next that fit. What such an array holds at first is not defined: whoever takes one writes
before reading.

An array's memory comes back when the last view of it is gone, polars columns over it too.
"""

from __future__ import annotations

import ctypes
import mmap
import weakref
from typing import Any, cast

import numpy as np
import numpy.typing as npt

SMALLEST = 1 << 20
"""Bytes from which on an array is worth keeping."""
MOST_KEPT = 320 << 20
"""Bytes kept at most while no array has them."""
MOST_SLACK = 8
"""A kept piece is taken for an array that leaves at most one part in so many unused."""
HUGE_PAGES_FROM = 4 << 20
"""Bytes from which on memory is worth huge pages."""

_kept: list[mmap.mmap] = []
"""Pieces that no array has, the one given back last at the end. Changed by single calls alone, each of which the
interpreter does whole: a piece may come back at any moment, from any thread."""


def empty(count: int, record: npt.DTypeLike) -> npt.NDArray[Any]:
    """Make an array of so many records that hold anything, the first at the start of a cache line."""
    kind = np.dtype(record)
    size = max(count * kind.itemsize, 1)
    piece = _kept_piece(size) if size >= SMALLEST else None
    if piece is None:
        piece = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if size >= HUGE_PAGES_FROM and hasattr(mmap, "MADV_HUGEPAGE"):
            piece.madvise(mmap.MADV_HUGEPAGE)
    # numpy leaves views only what the first array stood on: that is what tells when the last one is gone.
    owner = (ctypes.c_ubyte * len(piece)).from_buffer(piece)
    if size >= SMALLEST:
        weakref.finalize(owner, _keep, piece).atexit = False
    return np.frombuffer(cast(Any, owner), kind, count)


def zeros(count: int, record: npt.DTypeLike) -> npt.NDArray[Any]:
    """Make an array of so many records of zeros."""
    array = empty(count, record)
    array.view(np.uint8)[:] = 0
    return array


def kept_bytes() -> int:
    """How many bytes are kept that no array has."""
    return sum(len(piece) for piece in _kept.copy())


def forget() -> None:
    """Give all that is kept back to the system."""
    _kept.clear()


def _kept_piece(size: int) -> mmap.mmap | None:
    """Take the kept piece that fits best out of those kept."""
    fitting = [piece for piece in _kept.copy() if size <= len(piece) <= size + size // MOST_SLACK]
    for piece in sorted(fitting, key=len):
        try:
            _kept.remove(piece)
        except ValueError:
            continue  # another thread was quicker
        return piece
    return None


def _keep(piece: mmap.mmap) -> None:
    """Keep a piece that no array has any more; the oldest go where it is too much."""
    _kept.append(piece)
    while kept_bytes() > MOST_KEPT:
        try:
            _kept.pop(0)  # back to the system
        except IndexError:
            return
