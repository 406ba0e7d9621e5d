"""Give up every capability once the one privileged act is done.

A packet socket needs CAP_NET_RAW to be opened and offloads need CAP_NET_ADMIN to be switched; reading the ring or
/proc afterwards needs nothing. capset(2) without capabilities is always permitted, so whatever a program here was
started with, it goes on with none: a flaw in the code that touches other people's packets then gains nothing.
"""

from __future__ import annotations

import posix
from _struct import Struct

from lab.inside.native import Library, Pointer, get_errno

_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h: two 32-bit words a set
_HEADER = Struct("=Ii")  # version, pid (0: this thread)
_SETS = Struct("=6I")  # effective, permitted, inheritable: low words, then the same for the high words


def drop_capabilities() -> None:
    """Empty this thread's effective, permitted and inheritable capability sets, for good.

    Raises: OSError where the kernel refuses, which capset(2) documents only for gaining, never for losing.
    """
    capset = Library(None).function("capset", Pointer, Pointer)
    if capset(_HEADER.pack(_CAPABILITY_VERSION_3, 0), _SETS.pack(0, 0, 0, 0, 0, 0)) != 0:
        number = get_errno()
        raise OSError(number, f"capset: {posix.strerror(number)}")
