"""Compile a capture filter into the classic BPF program that the kernel runs, and put it on a socket.

In: text in the language of pcap-filter(7) (`tcp port 9000`), a snaplen, a link type. Out: a program, a list of
instructions `(code, jt, jf, k)`. The program's return value is how many bytes of the packet the kernel copies: 0 drops
the packet, anything else is the snaplen, so that with a snaplen of 128 only 128 bytes ever enter the ring.

The compiler is libpcap's own, bundled with the PyPI package `libpcap`. Importing that package costs 0.2 s, more than
tcpdump spends on a hundred thousand packets; so its shared library is found without running the package, and the few
functions used are called where they are. What cannot be compiled this way (the library does not load) scapy compiles.

A filter sees the packet as the kernel holds it: a VLAN tag has already been taken out of the bytes, so `vlan` looks in
vain for it there, and `tcp port 9000` matches tagged and untagged packets alike.
"""

from __future__ import annotations

import posix
import sys
from _struct import Struct, pack

from lab.inside.native import Int, Library, Memory, Pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, operand (struct sock_filter, linux/filter.h)."""

LINKTYPE_ETHERNET = 1  # tcpdump.org/linktypes.html
LINKTYPE_RAW = 101
SOL_SOCKET = 1  # asm-generic/socket.h
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
REJECT_ALL: list[Instruction] = [(0x06, 0, 0, 0)]  # BPF_RET | BPF_K: return 0
_DLT_RAW = 12  # what libpcap's API calls LINKTYPE_RAW on Linux (pcap/dlt.h)
_NETMASK_UNKNOWN = 0xFFFFFFFF
_LIBRARY_NAMES = ("libpcap.so.1", "libpcap.so.0.8")  # upstream's and Debian's names of one library
_SOCK_FILTER = Struct("=HBBI")
_BPF_PROGRAM = Struct("@IP")  # struct bpf_program: how many instructions, where they are
_ERROR_BYTES = 256  # PCAP_ERRBUF_SIZE


class FilterInvalid(ValueError):
    """The filter's text does not compile; `str(error)` is libpcap's own sentence, on one line."""


def compile_filter(text: str, snaplen: int, linktype: int = LINKTYPE_ETHERNET) -> list[Instruction]:
    """Compile `text`; the program returns `snaplen` for a packet to keep. An empty text keeps every packet.

    Raises: FilterInvalid if the text is no filter; RuntimeError if neither libpcap nor scapy can compile here.
    """
    library = _load_libpcap()
    if library is None:
        return _compile_with_scapy(text, snaplen, linktype)
    open_dead = library.function("pcap_open_dead", Int, Int, gives=Pointer)
    compile_text = library.function("pcap_compile", Pointer, Pointer, Pointer, Int, Int)
    handle = open_dead(_DLT_RAW if linktype == LINKTYPE_RAW else linktype, snaplen)
    program = Memory(bytes(_BPF_PROGRAM.size))
    try:
        if compile_text(handle, program.address, text.encode() + b"\0", 1, _NETMASK_UNKNOWN) != 0:
            told = _copy(library.function("pcap_geterr", Pointer, gives=Pointer)(handle), _ERROR_BYTES)
            raise FilterInvalid(" ".join(told.partition(b"\0")[0].decode(errors="replace").split()))
        length, instructions = _BPF_PROGRAM.unpack(program.read())
        compiled = list(_SOCK_FILTER.iter_unpack(_copy(instructions, length * _SOCK_FILTER.size)))
        library.function("pcap_freecode", Pointer)(program.address)
        return compiled
    finally:
        library.function("pcap_close", Pointer)(handle)


def _copy(address: int, size: int) -> bytes:
    """Bytes that a library left at an address."""
    taken = Memory(bytes(size))
    Library(None).function("memcpy", Pointer, Pointer, Pointer, gives=Pointer)(taken.address, address, size)
    return taken.read()


def attach(sock: socket, program: list[Instruction]) -> None:
    """Put the program on the socket, replacing an earlier one at once (struct sock_fprog, socket(7))."""
    code = Memory(b"".join(_SOCK_FILTER.pack(*i) for i in program))
    sock.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, pack("@HP", len(program), code.address))


def _load_libpcap() -> Library | None:
    """Load libpcap: the one bundled with the package `libpcap`, else the system's; None where there is neither."""
    for name in (*_bundled_libraries(), *_LIBRARY_NAMES):
        try:
            return Library(name)
        except OSError:
            continue
    return None


def _bundled_libraries() -> list[str]:
    """Where the package `libpcap` keeps its shared library for this machine."""
    inside_package = f"libpcap/_platform/{sys.platform}/{posix.uname().machine}/tcpdump/libpcap.so"
    candidates = (f"{folder or '.'}/{inside_package}" for folder in sys.path)
    return [candidate for candidate in candidates if posix.access(candidate, posix.F_OK)]


def _compile_with_scapy(text: str, snaplen: int, linktype: int) -> list[Instruction]:
    import ctypes

    try:
        from scapy.arch.common import compile_filter as compile_by_scapy
        from scapy.error import Scapy_Exception
    except ImportError as error:
        raise RuntimeError("cannot compile a capture filter: neither libpcap nor scapy loads here") from error
    try:
        program = compile_by_scapy(text, linktype=linktype)
    except (Scapy_Exception, OSError) as error:
        raise FilterInvalid(str(error)) from error
    raw = ctypes.string_at(program.bf_insns, program.bf_len * _SOCK_FILTER.size)
    keep = ((code, jt, jf, k) for code, jt, jf, k in _SOCK_FILTER.iter_unpack(raw))
    return [(code, jt, jf, snaplen if code == 0x06 and k else k) for code, jt, jf, k in keep]
