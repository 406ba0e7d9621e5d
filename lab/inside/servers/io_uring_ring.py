"""io_uring's two rings and provided buffers, by hand: what the C library liburing does, in view.

**The rings.** io_uring_setup(2) gives a descriptor; mmap(2) on it gives memory that kernel and program share. In the
*submission queue* we write entries (SQE, 64 bytes: which operation, on which descriptor, with which memory, and a
number of ours to know it by) and move the tail; the kernel takes them and moves the head. In the *completion queue*
the kernel writes results (CQE, 16 bytes: our number, what the system call would have returned, flags) and moves the
tail; we take them and move the head. io_uring_enter(2) is the one system call: "I have put N; wake me when M are
done".

**Provided buffers.** A receive that may complete at any time would need memory reserved for every connection. Instead
the program gives the kernel a ring of buffers that belong to nobody; a receive takes one when data is there, and the
CQE's flags tell which. Idle connections hold none.

Why not the package `liburing` from PyPI: its wheels of 2026 end with SIGILL on processors older than their builder's,
and the one before them comes as source only. The kernel's interface is stable, and small.

**Memory order.** With IORING_SETUP_DEFER_TASKRUN the kernel completes only while we are inside io_uring_enter, and
without SQPOLL it reads submissions only there: the rings are never touched from both sides at once, so no barriers
are needed.

io_uring(7), io_uring_setup(2), io_uring_enter(2), io_uring_register_buf_ring(3).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator

SETUP, ENTER, REGISTER = 425, 426, 427
"""System call numbers, alike on all architectures."""
SETUP_CLAMP, SETUP_SINGLE_ISSUER, SETUP_DEFER_TASKRUN = 1 << 4, 1 << 12, 1 << 13
ENTER_GETEVENTS = 1 << 0
REGISTER_PBUF_RING = 22
OFFSET_RINGS, OFFSET_SQES = 0, 0x10000000
"""Where mmap finds the rings (both in one mapping, IORING_FEAT_SINGLE_MMAP, Linux 5.4) and the SQEs."""

OP_POLL_ADD, OP_ACCEPT, OP_ASYNC_CANCEL, OP_SEND, OP_RECV = 6, 13, 14, 26, 27
ACCEPT_MULTISHOT, RECV_MULTISHOT, POLL_MULTISHOT = 1 << 0, 1 << 1, 1 << 0
BUFFER_SELECT = 1 << 5
"""SQE flag: take a provided buffer."""
CQE_BUFFER, CQE_MORE = 1 << 0, 1 << 1
"""CQE flags: a provided buffer was used, its number in the upper 16 bits; more completions of this request will
follow."""
CQE_BUFFER_SHIFT = 16

PARAMS = struct.Struct("7I12x 8IQ 8IQ")
"""struct io_uring_params: entries and flags, then the offsets within the submission and the completion ring."""
SQE = struct.Struct("<BBHiQQIIQHHiQQ")
"""opcode, flags, ioprio, fd, off, addr, len, operation's flags, user_data, buffer group, personality, splice_fd,
addr3, pad."""
CQE = struct.Struct("<QiI")
"""user_data, res, flags."""

_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: object) -> int:
    """A system call that Python has no name for. Raises: OSError."""
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def address_of(memory: mmap.mmap) -> int:
    """Where a mapping lies, as the kernel wants to know it."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Ring:
    """One io_uring instance of this thread."""

    def __init__(self, entries: int) -> None:
        """Raises: OSError: the kernel has no io_uring (ENOSYS) or refuses it (EPERM: sysctl or seccomp; EINVAL: too
        old)."""
        params = ctypes.create_string_buffer(PARAMS.pack(0, 0, SETUP_FLAGS, *[0] * 22))
        self.descriptor = _syscall(SETUP, ctypes.c_uint(entries), params)
        (sq_entries, cq_entries, _flags, _cpu, _idle, _features, _wq, *offsets) = PARAMS.unpack(
            params.raw[: PARAMS.size]
        )
        sq_head, sq_tail, sq_mask, _, _, _, sq_array, _, _, cq_head, cq_tail, cq_mask, _, _, cqes, _, _, _ = offsets
        size = max(sq_array + 4 * sq_entries, cqes + CQE.size * cq_entries)
        self._rings = mmap.mmap(self.descriptor, size, offset=OFFSET_RINGS)
        self._sqes = mmap.mmap(self.descriptor, SQE.size * sq_entries, offset=OFFSET_SQES)
        self._words = memoryview(self._rings)[: size // 4 * 4].cast("I")
        self._sq_head, self._sq_tail, self._cq_head, self._cq_tail = (
            n // 4 for n in (sq_head, sq_tail, cq_head, cq_tail)
        )
        self._sq_mask, self._cq_mask = self._words[sq_mask // 4], self._words[cq_mask // 4]
        self._cqes = cqes
        for index in range(sq_entries):  # the array between tail and SQE could reorder; we do not
            self._words[sq_array // 4 + index] = index
        self._to_submit = 0

    def put(
        self,
        operation: int,
        descriptor: int,
        user_data: int,
        *,
        address: int = 0,
        length: int = 0,
        operation_flags: int = 0,
        ioprio: int = 0,
        flags: int = 0,
    ) -> None:
        """Write one request; `submit` hands it over."""
        tail = self._words[self._sq_tail]
        if tail - self._words[self._sq_head] & 0xFFFFFFFF > self._sq_mask:
            self.submit(wait=0)  # the queue is full
        SQE.pack_into(
            self._sqes,
            (tail & self._sq_mask) * SQE.size,
            *(operation, flags, ioprio, descriptor, 0, address, length, operation_flags, user_data, 0, 0, 0, 0, 0),
        )
        self._words[self._sq_tail] = (tail + 1) & 0xFFFFFFFF
        self._to_submit += 1

    def submit(self, *, wait: int) -> None:
        """Hand over what was put, and return when `wait` completions are there, or a signal came."""
        try:
            taken = _syscall(ENTER, self.descriptor, self._to_submit, wait, ENTER_GETEVENTS, None, ctypes.c_size_t(0))
        except InterruptedError:  # nothing was submitted, or it would have been said
            return
        self._to_submit -= taken

    def completions(self) -> Iterator[tuple[int, int, int]]:
        """Take the results that are there: user_data, result (negative: an errno), flags."""
        head = self._words[self._cq_head]
        while head != self._words[self._cq_tail]:
            result = CQE.unpack_from(self._rings, self._cqes + (head & self._cq_mask) * CQE.size)
            head = (head + 1) & 0xFFFFFFFF
            self._words[self._cq_head] = head
            yield result


SETUP_FLAGS = SETUP_CLAMP | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN


class ProvidedBuffers:
    """A ring of equal buffers that receives take from (group 0)."""

    ENTRY = struct.Struct("<QIHH")
    """struct io_uring_buf: addr, len, bid; the last field of the first entry is the ring's tail."""
    TAIL_OFFSET = 14

    def __init__(self, ring: Ring, count: int, size: int) -> None:
        """`count` buffers (a power of two) of `size` bytes. Raises: OSError: the kernel is older than 5.19."""
        self.size = size
        self._mask = count - 1
        self._tail = 0
        self._memory = mmap.mmap(-1, count * size)
        self._view = memoryview(self._memory)
        self._address = address_of(self._memory)
        self._entries = mmap.mmap(-1, count * self.ENTRY.size)
        # struct io_uring_buf_reg: ring_addr, ring_entries, bgid, flags, reserved
        registration = struct.pack("<QIHH24x", address_of(self._entries), count, 0, 0)
        _syscall(REGISTER, ring.descriptor, REGISTER_PBUF_RING, registration, 1)
        for number in range(count):
            self.give_back(number)

    def take(self, flags: int, length: int) -> bytes:
        """Copy out what a completion with these flags received, and give its buffer back."""
        number = flags >> CQE_BUFFER_SHIFT
        data = self._view[number * self.size : number * self.size + length].tobytes()
        self.give_back(number)
        return data

    def give_back(self, number: int) -> None:
        """Put a buffer (back) into the ring."""
        place = (self._tail & self._mask) * self.ENTRY.size
        # Field by field: the fourth of the first entry is the tail, which must not be overwritten.
        struct.pack_into("<QIH", self._entries, place, self._address + number * self.size, self.size, number)
        self._tail = (self._tail + 1) & 0xFFFF
        struct.pack_into("<H", self._entries, self.TAIL_OFFSET, self._tail)
