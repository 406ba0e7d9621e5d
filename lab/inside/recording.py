"""One interface's recording, and the parts of a pcapng file that are not packets.

In: rings, shut and drained. Out: `frame`, the file without its packets: section header, an interface description each,
and an interface statistics block each, so that the file itself tells what it lacks.
"""

from __future__ import annotations

from lab.inside import pcapng

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lab.inside.ring import Ring
    from lab.inside.spool import Kept

_APPLICATION = "wirelab capture"


class Recording:
    """One interface while it is recorded, and what came of it."""

    def __init__(self, *, interface: str, linktype: int, ring: Ring, spool: Kept, start_ns: int) -> None:
        self.interface = interface
        self.linktype = linktype
        self.ring = ring
        self.spool = spool
        self.start_ns = start_ns
        """When the interface was armed, CLOCK_REALTIME; every packet of it is later."""
        self.end_ns = 0
        """When nothing more was let in."""
        self.written = 0
        """Packets in the file."""
        self.first_ns: int | None = None
        """Time of the first packet in the file; None without one."""
        self.last_ns: int | None = None
        self.truncated = False
        """Whether packets were left out for the cap."""
        self.error: str | None = None
        """What the socket reported (the interface went down), else None."""

    def keep(self) -> None:
        """Leave everything recorded in the spool's file, and account for it."""
        spool = self.spool
        spool.keep_rest()
        self.written, self.first_ns, self.last_ns, self.truncated = (
            spool.packets,
            spool.first_ns,
            spool.last_ns,
            spool.capped,
        )

    def statistics(self, index: int) -> bytes:
        """The interface statistics block of interface number `index`."""
        return pcapng.interface_statistics(
            index,
            received=self.ring.packets,
            dropped=self.ring.drops,
            written=self.written,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
        )


def head(recordings: list[Recording], snaplen: int, capture_filter: str) -> bytes:
    """What stands before the packets."""
    return pcapng.section_header(_APPLICATION) + b"".join(
        pcapng.interface_description(r.interface, r.linktype, snaplen, capture_filter) for r in recordings
    )


def statistics(recordings: list[Recording]) -> bytes:
    """What stands behind the packets."""
    return b"".join(recording.statistics(index) for index, recording in enumerate(recordings))


def frame(recordings: list[Recording], snaplen: int, capture_filter: str) -> bytes:
    """A whole file but for its packets, which belong before the first interface statistics block."""
    return head(recordings, snaplen, capture_filter) + statistics(recordings)
