"""The counters of all workers on one shared page: each worker writes its own row, the parent reads them all.

A row is 64-bit integers in shared anonymous memory. One writer a counter, aligned stores: no lock is needed, and
progress costs the workers nothing. Sums over rows are exact when the workers stand still (between phases), and a fair
picture meanwhile.
"""

from __future__ import annotations

import errno
import mmap

NAMES = (
    "attempted",  # connects begun
    "opened",  # connects that succeeded
    "open",  # open now
    "answered",  # connections with at least one complete answer
    "sent",  # messages sent whole
    "received",  # answers complete
    "bytes_sent",
    "bytes_received",
    "closed_orderly",  # closed by us in the plan's close style, without an error
    "closed_early",  # the peer sent FIN while we still wanted the connection
    "reset_by_peer",  # the peer sent RST, in any phase
    "timed_out",  # connects, and waits for the peer's FIN, that took too long
    "failed",  # connects that failed for any other reason
    "wrong_answers",
    "surplus_bytes",  # bytes of answers nobody asked for
    "unanswered",  # messages whose answer never came
    "planned",  # arrivals due, in phases with a set rate
    "started",  # arrivals begun
    "not_started",  # arrivals the generator failed to begin before the phase was over
    "late_drops",  # latency records not kept, for lack of room
    "duplicated",  # datagrams that came more than once
    "reordered",  # datagrams below the highest number already received (RFC 4737)
    "lost",  # datagrams that never came back
    "truncated",  # datagrams that came back shorter than they were sent
)
INDEX = {name: index for index, name in enumerate(NAMES)}
_ERRORS = 64
"""Where the counts by errno begin in a row."""
_ROW = 256


class Counters:
    """One page for a fleet of `workers`, made before they are forked. Slot 0 of the last row is the stop flag."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, 8 * _ROW * (workers + 1))
        self._cells = memoryview(self._memory).cast("q")

    def row(self, worker: int) -> memoryview:
        """The cells of one worker: `row[INDEX[name]]`, and `row[error_cell(number)]`."""
        return self._cells[worker * _ROW : (worker + 1) * _ROW]

    def stop(self) -> None:
        """Tell every worker to abandon what it is doing."""
        self._cells[self._workers * _ROW] = 1

    @property
    def stopping(self) -> bool:
        return self._cells[self._workers * _ROW] != 0

    def sums(self) -> dict[str, int]:
        """Every counter, summed over the workers."""
        return {name: sum(self.row(w)[index] for w in range(self._workers)) for name, index in INDEX.items()}

    def errors(self) -> dict[str, int]:
        """How often each error happened, by its name (`ECONNREFUSED`)."""
        totals = {}
        for number, name in errno.errorcode.items():
            total = sum(self.row(w)[error_cell(number)] for w in range(self._workers))
            if total:
                totals[name] = total
        return dict(sorted(totals.items()))


def error_cell(number: int) -> int:
    """The cell that counts an errno (Linux has them up to 133)."""
    return _ERRORS + min(number, _ROW - _ERRORS - 1)
