"""The hot loop as machine code, where the lab left some beside its text: `__pycache__/hot_loop.<processor>.code`.

The file, little endian, is to `hot_loop.py` what a .pyc file is:

    header   16 bytes   8s magic "LABLOOP1"; uint32 CRC-32 of `hot_loop.py` and `hot_loop_calls.py`, one after the
                        other (where they have changed since, it is not taken); uint32 CRC-32 of what made it
    code                position independent, with neither data nor relocations; its first byte is where it is entered

It is entered as `int32 code(scratch, scratch, calls, ...)`. That is numba's calling convention: two pointers, to room
for a result and for an exception, neither of which it has; then `hot_loop`'s arguments, which are pointers too.
"""

from __future__ import annotations

import mmap
import os
import struct
from binascii import crc32
from functools import cache

from lab.inside.native import Int, Library, Pointer, function_at, get_errno

from . import hot_loop, hot_loop_calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAGIC = b"LABLOOP1"
HEADER = struct.Struct("<8sII")
SOURCES = (hot_loop.__file__, hot_loop_calls.__file__)
ARGUMENTS = 11
"""How many `hot_loop` takes."""
FILES = "fleet/__pycache__/hot_loop.*.code"
"""Under `lab/inside`: the code for each processor."""
SWITCH = "LAB_COMPILED_FLEET"
"""Environment: `off` has the interpreter run the loop."""
_MAP_FAILED = 2 ** (8 * struct.calcsize("P")) - 1


class NoCode(Exception):
    """The loop cannot run as machine code here. Its text says why."""


def code_file(machine: str) -> str:
    """Where the code for a processor (as uname(2) calls it) lies."""
    return os.path.join(os.path.dirname(hot_loop.__file__), "__pycache__", f"hot_loop.{machine}.code")


def sources_crc() -> int:
    """Which text the code must have been made of."""
    total = 0
    for name in SOURCES:
        with open(name, "rb") as file:
            total = crc32(file.read(), total)
    return total


@cache
def loaded() -> tuple[Any, str]:
    """The code as `load` gives it, or None, and which of the two it is, in words; the same at every call."""
    try:
        return load(), "machine code"
    except NoCode as reason:
        return None, f"interpreter: {reason}"


def load() -> Any:
    """Map the code into memory; returns it as a function of `2 + ARGUMENTS` addresses. Raises NoCode."""
    if os.environ.get(SWITCH) == "off":
        raise NoCode(f"{SWITCH}=off")
    machine = os.uname().machine
    try:
        with open(code_file(machine), "rb") as file:
            data = file.read()
    except OSError:
        raise NoCode(f"the lab left none for {machine}") from None
    if data[: HEADER.size - 4] != HEADER.pack(MAGIC, sources_crc(), 0)[:-4]:
        raise NoCode("it was made of another text")
    return function_at(_executable(data[HEADER.size :]), *[Pointer] * (2 + ARGUMENTS))


def _executable(code: bytes) -> int:
    """Copy code into memory of its own, which can be executed and not written to from then on."""
    libc = Library(None)
    map_memory = libc.function("mmap", Pointer, Pointer, Int, Int, Int, Pointer, gives=Pointer)
    size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
    address = map_memory(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, None)
    if address == _MAP_FAILED:
        raise NoCode(f"mmap: {os.strerror(get_errno())}")
    libc.function("memcpy", Pointer, Pointer, Pointer, gives=Pointer)(address, code, len(code))
    if libc.function("mprotect", Pointer, Pointer, Int)(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise NoCode(f"memory may not be made executable here: {os.strerror(get_errno())}")
    return int(address)
