"""A TPACKET_V3 receive ring: packets that the kernel puts into shared memory, block by block.

One ring records one interface. The kernel copies each packet that the filter keeps into the current block; a block is
handed over ("retired") when it is full or `BLOCK_TIMEOUT_MS` after it was opened; this side reads a whole block and
gives it back. No system call a packet, no wake-up a packet, no Python object a packet while traffic runs.

    kernel fills block i+1 | block i: ready for us | blocks we gave back
    ───────────────────────┴───────────────────────┴─────────────────────
    all blocks ours  ->  the next packet is dropped and counted: the one place where a packet can be lost here

The order of the set-up matters. A packet socket opened with ETH_P_ALL receives from the first instant, before any
filter is on it, so the first packets in the ring would be ones nobody asked for. So: open with protocol 0 (receives
nothing), set up the ring, attach the filter, and only then bind with ETH_P_ALL. From that bind on everything is kept.

Counters (PACKET_STATISTICS, packet(7)): `tp_packets` counts what passed the filter, *including* `tp_drops`, the packets
for which no block was free; reading them sets both back to 0, so they are added up here. What the socket never saw
(another interface, refused by the filter) is in no counter of its own.

On the loopback interface each packet passes the tap twice, going out and coming in; PACKET_IGNORE_OUTGOING leaves the
copy going out, as libpcap does in user space.

Sources of the numbers: linux/if_packet.h, linux/if_ether.h, linux/if_arp.h, asm-generic/socket.h;
Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import errno
import mmap
import posix
from _socket import AF_PACKET, SO_ERROR, SOCK_RAW, SOL_SOCKET, if_nameindex, socket
from _struct import Struct

from lab.inside import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_TIMEOUT_MS = 50
BLOCK_BYTES = 1 << 18
SNAPPED_RING_BYTES, WHOLE_RING_BYTES = 8 << 20, 64 << 20
"""Memory where packets are cut at `SNAPPED_BYTES` or less, and where they are not. The first holds half a second of
100,000 packets a second cut at 128, should this process not get the processor, and is there at once: the kernel needs
a millisecond for 8 MiB."""
SNAPPED_BYTES = 512

SOL_PACKET = 263
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
PACKET_IGNORE_OUTGOING = 23
TPACKET_V3 = 2
ETH_P_ALL = 3
TP_STATUS_USER = 1

_TPACKET_REQ3 = Struct("=7I")  # block size, blocks, frame size, frames, block timeout, private, features
_TPACKET_STATS_V3 = Struct("=3I")  # packets (drops included), drops, times the ring was found full
_FRAME_BYTES = 2048  # only the arithmetic of the request uses it: V3 packs packets of any size into a block

BLOCK_HEADER = Struct("=8xIIII")
"""struct tpacket_block_desc: (version, offset to private), block status, packets, offset of the first, bytes used."""

RECORD = Struct("=III")
"""struct tpacket3_hdr: bytes to the next record, 0 for a block's last one; seconds, nanoseconds."""
_LAST_TIME = Struct("=40xII")
"""struct tpacket_block_desc: the time of its last packet. (What it calls the time of its first one is when the block
was opened.)"""

_LINKTYPE_OF_HARDWARE = {
    1: bpf.LINKTYPE_ETHERNET,  # ARPHRD_ETHER: veth, bridge
    772: bpf.LINKTYPE_ETHERNET,  # ARPHRD_LOOPBACK: bears an Ethernet header of zeros
    768: bpf.LINKTYPE_RAW,  # ARPHRD_TUNNEL
    769: bpf.LINKTYPE_RAW,  # ARPHRD_TUNNEL6
    776: bpf.LINKTYPE_RAW,  # ARPHRD_SIT
    65534: bpf.LINKTYPE_RAW,  # ARPHRD_NONE: tun
}
_LOOPBACK_HARDWARE = 772


def ring_bytes_for(snaplen: int) -> int:
    """Memory for the ring of one interface whose packets are cut at `snaplen`, unless told otherwise."""
    return SNAPPED_RING_BYTES if snaplen <= SNAPPED_BYTES else WHOLE_RING_BYTES


class InterfaceUnusable(Exception):
    """The interface is not there, or bears packets whose link type this recorder does not know."""


class Ring:
    """A recorder on one interface: once it is armed, every kept packet is in the ring."""

    def __init__(self, interface: str) -> None:
        """Open a socket on the interface that receives nothing yet.

        Raises: InterfaceUnusable; PermissionError without CAP_NET_RAW.
        """
        self.interface = interface
        self.packets = 0
        """Packets that passed the filter since arming, dropped ones included; as of the last `count()`."""
        self.drops = 0
        """Packets for which no block was free; as of the last `count()`."""
        self._taken_packets = 0
        self._next = 0
        self.socket = socket(AF_PACKET, SOCK_RAW, 0)
        try:
            self.socket.bind((interface, 0))
        except OSError as error:
            self.socket.close()
            names = ", ".join(name for _index, name in if_nameindex())
            raise InterfaceUnusable(f"interface {interface}: {error.strerror}; there are: {names}") from error
        self._hardware = self.socket.getsockname()[3]
        if self._hardware not in _LINKTYPE_OF_HARDWARE:
            self.socket.close()
            raise InterfaceUnusable(
                f"interface {interface}: hardware type {self._hardware} (linux/if_arp.h) cannot be recorded"
            )

    @property
    def linktype(self) -> int:
        """The pcap link type (tcpdump.org/linktypes.html) of what a packet socket reads from this interface."""
        return _LINKTYPE_OF_HARDWARE[self._hardware]

    def arm(self, program: list[bpf.Instruction], *, ring_bytes: int) -> None:
        """Size, filter and go: from the end of this on, every kept packet is in the ring.

        Raises: OSError(ENOMEM) for a ring that does not fit.
        """
        self.socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        self.block_bytes, self._blocks = _layout(ring_bytes)
        self.ring_bytes = self.block_bytes * self._blocks
        self._set_up_ring()
        self.memory = mmap.mmap(self.socket.fileno(), self.ring_bytes)
        bpf.attach(self.socket, program)
        if self._hardware == _LOOPBACK_HARDWARE:
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.bind((self.interface, ETH_P_ALL))

    def _set_up_ring(self) -> None:
        frames = self.ring_bytes // min(_FRAME_BYTES, self.block_bytes)
        frame_bytes = self.ring_bytes // frames
        request = _TPACKET_REQ3.pack(self.block_bytes, self._blocks, frame_bytes, frames, BLOCK_TIMEOUT_MS, 0, 0)
        try:
            self.socket.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise OSError(errno.ENOMEM, f"no memory for a ring of {self.ring_bytes} bytes") from error

    def ready(self, most: int | None = None) -> list[tuple[int, int, int]]:
        """The blocks that are ready, oldest first, at most so many: where each starts in `memory`, its packets, and
        the bytes used of it.
        """
        found: list[tuple[int, int, int]] = []
        for ahead in range(self._blocks if most is None else min(most, self._blocks)):
            start = (self._next + ahead) % self._blocks * self.block_bytes
            status, packets, _first, used = BLOCK_HEADER.unpack_from(self.memory, start)
            if not status & TP_STATUS_USER:
                break
            found.append((start, packets, used))
        return found

    def give_back(self, blocks: list[tuple[int, int, int]]) -> None:
        """Let the kernel fill these again, the oldest that are ready."""
        for start, packets, _used in blocks:
            self.memory[start + 8 : start + 12] = b"\0\0\0\0"  # block status: TP_STATUS_KERNEL
            self._taken_packets += packets
        self._next = (self._next + len(blocks)) % self._blocks

    def times(self, start: int) -> tuple[int, int]:
        """When the first and the last packet of the block at `start`, which has some, passed: nanoseconds."""
        _status, _packets, first, _used = BLOCK_HEADER.unpack_from(self.memory, start)
        _next, *began = RECORD.unpack_from(self.memory, start + first)
        ended = _LAST_TIME.unpack_from(self.memory, start)
        return began[0] * 1_000_000_000 + began[1], ended[0] * 1_000_000_000 + ended[1]

    def take(self) -> Iterator[int]:
        """Each block that is ready, oldest first: where it starts in `memory`.

        It is given back to the kernel when the next one is asked for.
        """
        while oldest := self.ready(1):
            yield oldest[0][0]
            self.give_back(oldest)

    def share_waiting(self) -> float:
        """How much of the ring waits to be taken, 0 to 1."""
        return len(self.ready()) / self._blocks

    def all_handed_over(self) -> bool:
        """Whether every packet counted so far stands in a block that is ready or was taken (call `count()` before).

        The block being filled is handed over at the latest `BLOCK_TIMEOUT_MS` after it was opened.
        """
        handed_over = self._taken_packets + sum(packets for _start, packets, _used in self.ready())
        return handed_over >= self.packets - self.drops

    def count(self) -> None:
        """Add what the kernel counted since the last time to `packets` and `drops`."""
        raw = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, _TPACKET_STATS_V3.size)
        packets, drops, _times_full = _TPACKET_STATS_V3.unpack(raw)
        self.packets += packets
        self.drops += drops

    def shut_gate(self) -> None:
        """Let no further packet in; what is in the ring stays there to be read."""
        bpf.attach(self.socket, bpf.REJECT_ALL)

    def take_error(self) -> str | None:
        """What went wrong meanwhile (ENETDOWN: the interface went down or away); None if nothing did."""
        number = self.socket.getsockopt(SOL_SOCKET, SO_ERROR)
        return posix.strerror(number) if number else None

    def close(self) -> None:
        self.memory.close()
        self.socket.close()


def _layout(ring_bytes: int) -> tuple[int, int]:
    """Bytes of a block and number of blocks: whole pages, at least two blocks, at most what was asked for."""
    page = mmap.PAGESIZE
    block_bytes = BLOCK_BYTES
    while block_bytes > page and ring_bytes < 2 * block_bytes:
        block_bytes //= 2
    return block_bytes, max(2, ring_bytes // block_bytes)
