"""Machine code that the lab made of a text, where it left some beside it: `__pycache__/<text>.<processor>.code`.

A few loops run once a message or once a packet. Each is a text that the interpreter can run, and of which the lab makes
machine code for hosts that have no compiler (`lab/engines/machine_code.py`). The file is to the text what a .pyc is:

    header   16 bytes   8s magic "LABCODE1"; uint32 CRC-32 of the text (where that has changed since, the code is not
                        taken); uint32 CRC-32 of what made it; little endian
    code                position independent, with neither data nor relocations; its first byte is where it is entered

It is entered as `int32 code(scratch, scratch, calls, ...)`. That is numba's calling convention: two pointers, to room
for a result and for an exception, neither of which it has; then the text's arguments, which are pointers too. `calls`
points to the addresses of the functions of the C library that it calls.
"""

from __future__ import annotations

import mmap
import posix
from binascii import crc32

from lab.inside.native import Int, Library, Memory, Pointer, function_at, get_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAGIC = b"LABCODE1"
HEADER_BYTES = 16
SWITCH = "LAB_MACHINE_CODE"
"""Environment: `off` has the interpreter run every text."""
MACHINE_CODE = "machine code"
"""What a result says of a loop that ran as such."""
_MAP_FAILED = -1


class NoCode(Exception):
    """A text cannot run as machine code here. `str()` says why."""


def code_file(text: str, processor: str) -> str:
    """Where the code of a text for a processor (as uname(2) calls it) lies."""
    folder, _, name = text.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{processor}.code"


def crc_of(*files: str) -> bytes:
    """The CRC-32 of some files' content, one behind the other."""
    total = 0
    for name in files:
        with open(name, "rb") as file:
            total = crc32(file.read(), total)
    return total.to_bytes(4, "little")


def load(*texts: str, calls: tuple[str, ...], arguments: int) -> Callable[..., Any]:
    """Map the code made of the first text, which is in other files too, into memory.

    Returns a function that takes what the text's function takes but `calls`, `arguments` in number: addresses, or bytes
    that it only reads. Raises NoCode.
    """
    if posix.environ.get(SWITCH.encode()) == b"off":
        raise NoCode(f"{SWITCH}=off")
    processor = posix.uname().machine
    try:
        with open(code_file(texts[0], processor), "rb") as file:
            data = file.read()
    except OSError:
        raise NoCode(f"the lab left none for {processor}") from None
    if data[:12] != MAGIC + crc_of(*texts):
        raise NoCode("it was made of another text")
    code = function_at(_executable(data[HEADER_BYTES:]), *[Pointer] * (3 + arguments))
    libc, scratch = Library(None), Memory(bytes(8))
    addresses = Memory(b"".join(libc.address(name).to_bytes(8, "little") for name in calls))

    def entered(*given: int | bytes | None) -> None:
        code(scratch.address, scratch.address, addresses.address, *given)

    return entered


def load_or_none(*texts: str, calls: tuple[str, ...], arguments: int) -> tuple[Callable[..., Any] | None, str]:
    """`load`, or None where the interpreter must run the text; and which of the two it is, in words for a result."""
    try:
        return load(*texts, calls=calls, arguments=arguments), MACHINE_CODE
    except NoCode as reason:
        return None, f"interpreter: {reason}"


def _executable(code: bytes) -> int:
    """Copy code into memory of its own, which can be executed and from then on not written to."""
    libc = Library(None)
    size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
    map_memory = libc.function("mmap", Pointer, Pointer, Int, Int, Int, Pointer, gives=Pointer)
    writable = mmap.PROT_READ | mmap.PROT_WRITE
    address = map_memory(None, size, writable, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, None)
    if address == Pointer(_MAP_FAILED).value:
        raise NoCode(f"mmap: {posix.strerror(get_errno())}")
    libc.function("memcpy", Pointer, Pointer, Pointer, gives=Pointer)(address, code, len(code))
    if libc.function("mprotect", Pointer, Pointer, Int)(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise NoCode(f"memory may not be made executable here: {posix.strerror(get_errno())}")
    return int(address)
