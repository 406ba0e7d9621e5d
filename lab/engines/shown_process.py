"""What ps(1) and /proc show of a process that did not come to be by exec: its name, command line and environment.

The kernel keeps no copy of these. It keeps addresses, and reads `/proc/PID/cmdline` and `environ` from the process'
memory when somebody looks (proc_pid_cmdline(5)). execve(2) lays the words out on the new stack; a process may name
another place with prctl(PR_SET_MM_MAP), which needs no right but a kernel with CONFIG_CHECKPOINT_RESTORE
(distributions have it). Where that is refused, the words are written over those of the program it was forked from, cut
to as many bytes as those were, and `environ` stays as it was.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import Struct

_PR_SET_NAME = 15
_PR_SET_MM = 35
_PR_SET_MM_MAP = 14
_NO_DESCRIPTOR = 0xFFFFFFFF
_MM_MAP = Struct("=12QII")
"""struct prctl_mm_map of <linux/prctl.h>: where code, data, brk, stack, arguments and environment begin and end; the
auxiliary vector, its size (0: stays as it is); a descriptor of another executable."""
_NAME_BYTES = 15  # TASK_COMM_LEN, without the 0 at the end

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sbrk.restype = ctypes.c_void_p
_shown: ctypes.Array[ctypes.c_char] | None = None
"""What the kernel reads from, so that it stays where it is."""


def show_as(name: str, command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Have the kernel show this process under a name of up to 15 bytes, with a command line and an environment.

    Only what is shown changes: neither `os.environ` nor `sys.argv`.
    """
    global _shown
    _libc.prctl(_PR_SET_NAME, os.fsencode(name)[:_NAME_BYTES] + b"\0", 0, 0, 0)
    words = _joined(command)
    environment = _joined([f"{key}={value}" for key, value in variables.items()])
    _shown = ctypes.create_string_buffer(words + environment)
    start = ctypes.addressof(_shown)
    middle, end = start + len(words), start + len(words) + len(environment)
    place = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    # proc_pid_stat(5), whose fields are numbered from 1, the first two left out here; sbrk(0) is the `brk` of now.
    code, data, stack = map(int, place[23:25]), map(int, place[42:44]), int(place[25])
    first_brk, arguments, arguments_end = map(int, place[44:47])
    brk = _libc.sbrk(0)
    request = _MM_MAP.pack(*code, *data, first_brk, brk, stack, start, middle, middle, end, 0, 0, _NO_DESCRIPTOR)
    if _libc.prctl(_PR_SET_MM, _PR_SET_MM_MAP, request, ctypes.c_ulong(len(request)), 0) != 0:
        _write_over(arguments, arguments_end - arguments, words)


def _joined(words: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _write_over(start: int, size: int, words: bytes) -> None:
    """Fill the place of the arguments: its last byte stays 0, by which the kernel knows that it is still that."""
    if size > 0:
        ctypes.memmove(start, words[: size - 1].ljust(size, b"\0"), size)
