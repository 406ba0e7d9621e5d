"""Send what is meant for one host by way of another: a host route through a gateway (rtnetlink(7), CAP_NET_ADMIN)."""

from __future__ import annotations

import socket

from lab.inside.rtnetlink import NLM_F_CREATE, NLM_F_REPLACE, ROUTE, RT_TABLE_MAIN, attribute, request

# linux/rtnetlink.h
RTM_NEWROUTE = 24
RTA_DST, RTA_GATEWAY = 1, 5
RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST = 4, 0, 1


def add_route(address: str, gateway: str) -> None:
    """Reach `address` through `gateway` from now on. Raises OSError: ENETUNREACH if the gateway is no neighbour."""
    route = ROUTE.pack(socket.AF_INET, 32, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    attributes = attribute(RTA_DST, socket.inet_aton(address)) + attribute(RTA_GATEWAY, socket.inet_aton(gateway))
    request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route + attributes)
