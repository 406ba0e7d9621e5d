"""Whether a checksum is right: the layer is built again without it, and scapy computes it anew."""

from __future__ import annotations

from typing import Any


def checksum_meaning(whole: Any, layer: Any, header: bytes) -> str:
    """Say whether the checksum in `header` (the layer's own bytes) is the one that the bytes give."""
    kind = type(layer).__name__
    if kind not in ("IP", "TCP", "UDP", "ICMP"):
        return ""
    if kind == "UDP" and layer.chksum == 0:
        return "0: the sender made none"
    if kind != "IP" and not _is_whole(layer):
        return "over bytes that are not all here: cannot be checked"
    again = whole.copy()
    ours = again.getlayer(kind)
    if ours is None or again.getlayer(kind, 2) is not None:
        return ""
    del ours.chksum
    right = type(whole)(bytes(again)).getlayer(kind).chksum
    over = {"IP": "the header", "TCP": "addresses, header and data", "UDP": "addresses, header and data"}
    said = f"over {over.get(kind, 'header and data')}"
    if right == layer.chksum:
        return f"{said}: right"
    return f"{said}: wrong, these bytes give 0x{right:04x} (or the card was to fill it in: checksum offload)"


def _is_whole(layer: Any) -> bool:
    """Whether the bytes that the checksum is over were all captured, in one packet."""
    below = layer.underlayer
    while below is not None and type(below).__name__ not in ("IP", "IPv6"):
        below = below.underlayer
    if below is None:
        return False
    if type(below).__name__ == "IPv6":
        return bool(len(below.original) >= 40 + below.plen)
    fragment = below.frag or below.flags & 1  # 1: more fragments
    return not fragment and bool(len(below.original) >= below.len)
