"""The sequence numbers of one hand-made end of a connection: what it would send next, what it expects. No I/O.

All arithmetic is modulo 2^32 (RFC 9293 3.4). SYN and FIN take one number each.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from lab.inside.script.kernel_sockets import Address

_MODULUS = 1 << 32
_SEGMENTS_KEPT = 1000
"""Segments that came and were not waited for; older ones are forgotten."""


class Segment(NamedTuple):
    """A segment that came."""

    flags: str
    """First letters, as scapy writes them: `SA`."""
    seq: int
    ack: int
    size: int
    """Payload, in bytes."""
    window: int

    def __str__(self) -> str:
        return f"{self.flags} seq {self.seq} ack {self.ack} {self.size} bytes"


def _plain(flags: str) -> frozenset[str]:
    """Flags that say what a segment is for: PSH and the ECN bits do not."""
    return frozenset(flags) - set("PECN")


def sequence_space(flags: str, size: int) -> int:
    """Return how many sequence numbers a segment takes."""
    return size + ("S" in flags) + ("F" in flags)


class Endpoint:
    """One end."""

    def __init__(self, *, port: int, peer: Address | None, next_to_send: int) -> None:
        self.port = port
        self.peer = peer
        """None until somebody has sent a segment here."""
        self.next_to_send = next_to_send
        self.next_expected = 0
        self.acked = 0
        """The acknowledgement number that came last."""
        self._arrived: deque[Segment] = deque(maxlen=_SEGMENTS_KEPT)
        self.passed: list[Segment] = []
        """Segments that came before one that was waited for."""

    def take(self, segment: Segment, sender: Address) -> None:
        """Take in a segment that came from `sender`; a stranger's is left alone."""
        if self.peer is None:
            self.peer = sender
        if self.peer != sender:
            return
        space = sequence_space(segment.flags, segment.size)
        if "S" in segment.flags:
            self.next_expected = (segment.seq + space) % _MODULUS
        elif segment.seq == self.next_expected:
            self.next_expected = (self.next_expected + space) % _MODULUS
        if "A" in segment.flags:
            self.acked = segment.ack
        self._arrived.append(segment)

    def next_segment(self, flags: str, size: int | None) -> Segment | None:
        """Return the first segment with these flags (and payload) not returned yet, passing by others; or None."""
        while self._arrived:
            segment = self._arrived.popleft()
            self.passed.append(segment)
            if _plain(segment.flags) == _plain(flags) and size in (None, segment.size):
                return segment
        return None

    def numbers(self, flags: str, seq: int | Literal["acked"], ack: int, size: int) -> tuple[int, int]:
        """Return the sequence and acknowledgement number of the next segment to send.

        `seq` is added to the next number, and only 0 uses it up; `acked` takes the number that the other side
        acknowledged last, as a reset does that answers an acknowledgement (RFC 9293 3.10.7.1).
        """
        if seq == "acked":
            number = self.acked
        else:
            number = (self.next_to_send + seq) % _MODULUS
            if seq == 0:
                self.next_to_send = (self.next_to_send + sequence_space(flags, size)) % _MODULUS
        return number, (self.next_expected + ack) % _MODULUS if "A" in flags else 0
