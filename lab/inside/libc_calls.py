"""Counts the system calls of this process by name, with no privilege, in any host: where programs enter the C library.

**Why not ask the kernel.** Every way the kernel has was tried on Linux 6.18, with an epoll echo server of 3 calls a
message:

    way                            result
    ─────────────────────────────  ───────────────────────────────────────────────────────────────────────────────────
    perf_event_open(2) on the      exact; but wants tracefs (mode 0700: root) to learn the tracepoints' numbers,
    tracepoints sys_enter_*        Docker's seccomp profile refuses the call, and it sends every process of the machine,
                                   the fleet too, through the kernel's slow path at each system call
    ptrace(2), as strace -c does   exact, allowed in a container too; two stops a call made an exchange 7 to 9 times as
                                   long, and a slower server batches more: the count is of another server
    seccomp(2) with a listener     as ptrace
    /proc/PID/io                   free; knows only read(2) and write(2), and of those no name
    /proc/PID/syscall              says where a process sleeps, not how often it called

**What is done instead.** A program that calls `recv` jumps through a slot of its global offset table (GOT), which the
dynamic linker filled with the address of `recv` in the C library; so does every compiled extension module. Each such
slot, of what is loaded already and of what is imported later, is given the address of a stub of four instructions
instead: add one to a counter, jump to the real function. It costs less than could be measured
(2 ns a call or less), is exact under threads (the addition is atomic) and over forked children (the
counters are in memory that they share), and needs no permission. `tests/inside/test_libc_calls.py` holds it against
strace.

**What it does not see.** Calls that the C library makes by itself (futex(2) for locks, mmap(2) for memory), and inline
system calls of libraries that go past the C library. Calls through `syscall(3)`, as io_uring's are, count under
`syscall`.

It is written for x86-64; elsewhere `count_calls` returns None and /proc/PID/io is what remains (`syscall_counts`).

elf(5), dl_iterate_phdr(3), System V ABI for x86-64: r11 belongs to nobody at a call.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_SAME_NAME = """
    read write readv writev recvmsg sendmsg recvmmsg sendmmsg recvfrom sendto accept accept4 socket bind listen connect
    shutdown close getsockopt setsockopt getsockname getpeername select poll ppoll epoll_wait epoll_pwait epoll_ctl
    ioctl fcntl nanosleep clock_nanosleep waitpid waitid wait4 kill fork vfork syscall
"""
_OTHER_NAME = """
    recv=recvfrom send=sendto pselect=select fcntl64=fcntl pthread_create=clone
    sigwaitinfo=rt_sigtimedwait sigtimedwait=rt_sigtimedwait
    __read_chk=read __recv_chk=recvfrom __recvfrom_chk=recvfrom __poll_chk=poll
"""
"""The last line: what a compiler makes of a call with a buffer whose size it knows (_FORTIFY_SOURCE)."""
SYSCALL_OF: dict[str, str] = {name: name for name in _SAME_NAME.split()} | {
    function: name for function, _, name in (pair.partition("=") for pair in _OTHER_NAME.split())
}
"""Functions of the C library that are one system call each, and the name under which it counts."""

_STUB = struct.Struct("<4s2sQ4s2sQ3s")
"""endbr64; mov r11, counter; lock inc qword [r11]; mov r11, function; jmp r11."""
SHARED = "LAB_COUNT_CALLS_IN"
"""Environment: the descriptor of the memory that a parent's counters are in."""
_MEMORY = "wirelab-calls"
_OURSELVES = ("libc.so", "ld-linux", "linux-vdso")
_DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL, _DT_PLTRELSZ = 5, 6, 7, 8, 23, 2
_PT_DYNAMIC = 2
_GLOB_DAT, _JUMP_SLOT = 6, 7
_PAGE = mmap.PAGESIZE


class _Phdr(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("vaddr", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 4),
    )


class _Loaded(ctypes.Structure):
    """dl_phdr_info: one loaded object."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.POINTER(_Phdr)),
        ("count", ctypes.c_uint16),
    )


class CallCounter:
    """The stubs and their counters. Made once, before any fork; lives as long as the process."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        # Shared with every child forked from now on; a child executed afresh finds it by the descriptor's number.
        self._counters = mmap.mmap(_shared_memory(), _PAGE)
        counters = ctypes.addressof(ctypes.c_char.from_buffer(self._counters))
        self._names = sorted(set(SYSCALL_OF.values()))
        code = mmap.mmap(-1, _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._code = code  # kept: the slots point into it
        self._stubs: dict[bytes, int] = {}
        first = ctypes.addressof(ctypes.c_char.from_buffer(code))
        for place, (function, name) in enumerate(sorted(SYSCALL_OF.items())):
            target = self._address_of(function)
            if target is None:
                continue
            stub = _STUB.pack(
                b"\xf3\x0f\x1e\xfa",
                b"\x49\xbb",
                counters + 8 * self._names.index(name),
                b"\xf0\x49\xff\x03",
                b"\x49\xbb",
                target,
                b"\x41\xff\xe3",
            )
            code[place * 32 : place * 32 + len(stub)] = stub
            self._stubs[function.encode()] = first + place * 32
        self._protect(first, mmap.PROT_READ | mmap.PROT_EXEC)
        self._seen: set[int] = set()
        self._redirect_new(dlopen=self._telling_dlopen(), dlsym=self._stubs_for_dlsym())
        # Slots point into this object's memory: it must outlive everything, the interpreter's own end too.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def counts(self) -> dict[str, int]:
        """Return calls so far by name, of this process and of its children that count."""
        values = struct.unpack_from(f"{len(self._names)}Q", self._counters)
        return {name: count for name, count in zip(self._names, values, strict=True) if count}

    def _redirect_new(self, *, dlopen: int | None = None, dlsym: int | None = None) -> None:
        """Give stubs to all objects that were loaded since the last time, and these addresses: `dlsym` to ctypes,
        `dlopen` to all others."""
        mappings = _mappings()
        for file, slot, function in list(_slots(self._seen)):
            address = self._stubs.get(function)
            if function == b"dlsym" and file.startswith("_ctypes."):
                address = dlsym
            elif function == b"dlopen" and not file.startswith("_ctypes."):
                address = dlopen
            if address is not None:
                self._redirect(slot, address, mappings)

    def _address_of(self, function: str) -> int | None:
        try:
            return ctypes.cast(getattr(self._libc, function), ctypes.c_void_p).value
        except AttributeError:
            return None  # this C library has none

    def _protect(self, address: int, protection: int) -> None:
        page = address & -_PAGE
        if self._libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(_PAGE), protection):
            raise OSError(ctypes.get_errno(), "mprotect")

    def _redirect(self, slot: int, address: int, mappings: list[tuple[int, int, int]]) -> None:
        """Write one slot, which the linker may have made read-only (RELRO), and leave it as it was."""
        was = next(protection for low, high, protection in mappings if low <= slot < high)
        self._protect(slot, was | mmap.PROT_WRITE)
        ctypes.c_uint64.from_address(slot).value = address
        if not was & mmap.PROT_WRITE:
            self._protect(slot, was)

    def _telling_dlopen(self) -> int:
        """What the interpreter, which loads extension modules with dlopen(3), shall call: it tells us of each."""
        prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
        dlopen = prototype(self._address_of("dlopen") or 0)

        def load(name: bytes, flags: int) -> int | None:
            handle: int | None = dlopen(name, flags)
            if handle:
                self._redirect_new()
            return handle

        self._load = prototype(load)  # kept: slots point to it
        return ctypes.cast(self._load, ctypes.c_void_p).value or 0

    def _stubs_for_dlsym(self) -> int:
        """What ctypes, which finds functions with dlsym(3), shall call: it gives stubs."""
        prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
        dlsym = prototype(self._address_of("dlsym") or 0)
        stubs = self._stubs

        def find(handle: int, name: bytes) -> int | None:
            found: int | None = dlsym(handle, name)
            return stubs.get(name, found) if found else found

        self._find = prototype(find)  # kept: a slot points to it
        return ctypes.cast(self._find, ctypes.c_void_p).value or 0


def _shared_memory() -> int:
    """Return the descriptor of the counters' memory: the parent's, if it left one, else a new one that children
    inherit."""
    left = os.environ.get(SHARED, "")
    place = f"/proc/self/fd/{left}"
    if left.isdigit() and os.path.exists(place) and os.readlink(place).startswith(f"/memfd:{_MEMORY}"):
        return int(left)
    descriptor = os.memfd_create(_MEMORY, 0)  # not closed by execve(2)
    os.ftruncate(descriptor, _PAGE)
    os.environ[SHARED] = str(descriptor)
    return descriptor


def count_calls() -> CallCounter | None:
    """Begin to count this process's calls; None where that cannot be done (another processor, memory that may not be
    made executable, LAB_COUNT_CALLS=off)."""
    if os.uname().machine != "x86_64" or os.environ.get("LAB_COUNT_CALLS") == "off":
        return None
    try:
        return CallCounter()
    except OSError:
        return None


def syscall_counts(counter: CallCounter | None) -> dict[str, Any]:
    """Return what is known of this process's system calls: `method`, and `calls` by name since it started."""
    if counter is not None:
        return {"method": "libc", "calls": counter.counts()}
    try:
        with open("/proc/self/io") as file:
            text = file.read()
    except OSError as error:
        return {"method": "none", "calls": {}, "why": str(error)}
    io = dict(line.split(": ") for line in text.splitlines())
    return {"method": "proc-io", "calls": {"read": int(io["syscr"]), "write": int(io["syscw"])}}


def _mappings() -> list[tuple[int, int, int]]:
    """Return this process's memory as (first address, address behind the last, protection), from /proc/self/maps."""
    bits = (("r", mmap.PROT_READ), ("w", mmap.PROT_WRITE), ("x", mmap.PROT_EXEC))
    result = []
    with open("/proc/self/maps") as file:
        lines = file.readlines()
    for line in lines:
        span, flags = line.split(" ", 2)[:2]
        low, high = (int(end, 16) for end in span.split("-"))
        result.append((low, high, sum(bit for letter, bit in bits if letter in flags)))
    return result


def _slots(seen: set[int]) -> Iterator[tuple[str, int, bytes]]:
    """Find each slot of each loaded object's global offset table that holds a function: file, address, function.

    Objects whose addresses are in `seen` are left out, the others added.
    """
    found: list[tuple[int, str, list[tuple[int, int]]]] = []

    def each(info: Any, _size: int, _data: int) -> int:
        loaded = info.contents
        if loaded.base not in seen:
            headers = [(loaded.headers[i].type, loaded.headers[i].vaddr) for i in range(loaded.count)]
            found.append((loaded.base, os.path.basename(os.fsdecode(loaded.name or b"")), headers))
        return 0

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(prototype(each), None)
    for base, file, headers in found:
        seen.add(base)
        if not file.startswith(_OURSELVES):
            for kind, address in headers:
                if kind == _PT_DYNAMIC:
                    for slot, function in _slots_of(_dynamic(base, base + address)):
                        yield file, base + slot, function


def _dynamic(base: int, address: int) -> dict[int, int]:
    """Read an object's dynamic section: tag to value, addresses made absolute."""
    entries: dict[int, int] = {}
    while True:
        tag, value = struct.unpack("qQ", ctypes.string_at(address, 16))
        if tag == 0:
            return entries
        if tag in (_DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_JMPREL) and value < base:
            value += base  # some C libraries leave it relative
        entries[tag] = value
        address += 16


def _slots_of(dynamic: dict[int, int]) -> Iterator[tuple[int, bytes]]:
    """Find the slots of one object: address from its base, function.

    Two tables say what the linker had to fill in: entries of 24 bytes, which are a place, the kind with the symbol's
    number above it, and an addend. The interpreter's library has 36,000, and 2,000 of them are slots: so the kinds,
    one byte each, are searched as bytes, and only slots are looked at.
    """
    if _DT_SYMTAB not in dynamic or _DT_STRTAB not in dynamic:
        return
    symbols, strings = dynamic[_DT_SYMTAB], dynamic[_DT_STRTAB]
    for table, size in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
        if table not in dynamic or not dynamic.get(size):
            continue
        entries = ctypes.string_at(dynamic[table], dynamic[size])
        kinds = entries[8::24]
        for wanted in (_GLOB_DAT, _JUMP_SLOT):
            place = kinds.find(wanted)
            while place >= 0:
                slot, _kind, symbol = struct.unpack_from("QII", entries, 24 * place)
                name = ctypes.c_uint32.from_address(symbols + 24 * symbol).value
                yield slot, ctypes.string_at(strings + name)
                place = kinds.find(wanted, place + 1)
