"""Take the way out of a host away: its default routes.

A host's world is the networks that its scenario joins it to. Docker gives containers a default route to the machine, so
that a packet for a network to which no route is written would leave for there and never be heard of again; on the
engine netns connect(2) fails at once with ENETUNREACH, as it does on a real host without a router. Without a default
route it is the same on both, and nothing gets out.

It takes CAP_NET_ADMIN.
"""

from __future__ import annotations

import errno
from _socket import AF_INET

from lab.inside.rtnetlink import ROUTE, RT_TABLE_MAIN, request

# linux/rtnetlink.h
_RTM_DELROUTE = 25
_RT_SCOPE_NOWHERE = 255
_MOST_ROUTES = 16


def remove_default_routes() -> int:
    """Remove all of them (IPv4); return how many there were. Raises OSError where the kernel refuses."""
    to_everywhere = ROUTE.pack(AF_INET, 0, 0, 0, RT_TABLE_MAIN, 0, _RT_SCOPE_NOWHERE, 0, 0)
    for removed in range(_MOST_ROUTES):
        try:
            request(_RTM_DELROUTE, 0, to_everywhere)
        except OSError as error:
            if error.errno == errno.ESRCH:
                return removed
            raise
    return _MOST_ROUTES
