"""What the fields of the usual headers are called, and what their values say.

Keys are scapy's class and field names. A field that is not here keeps scapy's name and stands without a meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.layers import Context
from lab.report.packet_list import ETHERTYPES, ICMP_CODES, ICMP_TYPES, PROTOCOLS
from lab.report.steps import flag_names

LAYERS = {
    "Ether": ("Ethernet", "which station of this one segment is to take it", "IEEE 802.3"),
    "Dot3": ("Ethernet", "which station of this one segment is to take it", "IEEE 802.3"),
    "Dot1Q": ("VLAN tag", "which of several networks on one wire it is for", "IEEE 802.1Q"),
    "CookedLinux": ("Linux cooked", "what the kernel knew of the frame", "LINKTYPE_LINUX_SLL"),
    "ARP": ("ARP", "which Ethernet address is behind an IPv4 address", "RFC 826"),
    "IP": ("IPv4", "which host of the whole network is to get it, over how many routers", "RFC 791"),
    "IPv6": ("IPv6", "which host of the whole network is to get it, over how many routers", "RFC 8200"),
    "TCP": ("TCP", "which program, and which bytes of its stream: all of them, once, in order", "RFC 9293"),
    "UDP": ("UDP", "which program", "RFC 768"),
    "ICMP": ("ICMP", "what went wrong on the way, or a question whether one is there", "RFC 792"),
    "IPerror": ("quoted IPv4", "the packet that the error is about", "RFC 792"),
    "TCPerror": ("quoted TCP", "the start of its segment", "RFC 792"),
    "UDPerror": ("quoted UDP", "the start of its datagram", "RFC 792"),
    "ICMPerror": ("quoted ICMP", "the start of its message", "RFC 792"),
    "DNS": ("DNS", "a name's address, asked for or told", "RFC 1035"),
}
"""What people call a layer, what it adds, and where it is defined."""

NAMES = {
    "Ether": {"dst": "destination", "src": "source"},
    "Dot1Q": {"prio": "priority", "dei": "drop eligible", "vlan": "VLAN"},
    "IP": {
        "ihl": "header length",
        "tos": "service class",
        "len": "total length",
        "id": "identification",
        "frag": "fragment offset",
        "ttl": "time to live",
        "proto": "protocol",
        "chksum": "checksum",
        "src": "source",
        "dst": "destination",
    },
    "TCP": {
        "sport": "source port",
        "dport": "destination port",
        "seq": "sequence number",
        "ack": "acknowledgement",
        "dataofs": "header length",
        "chksum": "checksum",
        "urgptr": "urgent pointer",
    },
    "UDP": {"sport": "source port", "dport": "destination port", "len": "length", "chksum": "checksum"},
    "ICMP": {"chksum": "checksum", "id": "identifier", "seq": "number"},
    "ARP": {
        "hwtype": "link type",
        "ptype": "protocol type",
        "hwlen": "link address length",
        "plen": "protocol address length",
        "op": "operation",
        "hwsrc": "sender's Ethernet address",
        "psrc": "sender's IP address",
        "hwdst": "target's Ethernet address",
        "pdst": "target's IP address",
    },
}
"""The headers' own words (the RFCs') for scapy's short names."""

BROADCAST, UNKNOWN_MAC = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"


def _family(kind: str) -> str:
    return kind.removesuffix("error")


def shown_name(kind: str, field: str) -> str:
    """What people call a field."""
    return NAMES.get(_family(kind), {}).get(field, field)


def meaning_of(kind: str, field: str, value: Any, layer: Any, context: Context) -> str:
    """What a field's value says; empty where it says all itself."""
    told = _MEANINGS.get((_family(kind), field))
    if told is None:
        return ""
    return told if isinstance(told, str) else told(value, layer, context)


def _station(value: Any, _layer: Any, context: Context) -> str:
    if value == BROADCAST:
        return "everybody on this segment (broadcast)"
    if int(str(value)[:2], 16) & 1:
        return "a group (multicast)"
    return context.names.get(str(value), "")


def _asked_station(value: Any, layer: Any, context: Context) -> str:
    if value == UNKNOWN_MAC and layer.op == 1:
        return "not known: this is what is asked"
    return _station(value, layer, context)


def _host(value: Any, _layer: Any, context: Context) -> str:
    return context.names.get(str(value), "")


def _protocol(value: Any, _layer: Any, _context: Context) -> str:
    return PROTOCOLS.get(int(value), "")


def _ethertype(value: Any, _layer: Any, _context: Context) -> str:
    return ETHERTYPES.get(int(value), "")


def _words(value: Any, _layer: Any, _context: Context) -> str:
    return f"words of 4 bytes: {int(value) * 4} bytes"


def _ip_flags(value: Any, _layer: Any, _context: Context) -> str:
    if value & 2:
        return "don't fragment: a router that cannot pass it whole must say so"
    return "more fragments of this datagram follow" if value & 1 else "may be cut into fragments"


def _offset(value: Any, layer: Any, _context: Context) -> str:
    if not value and not layer.flags & 1:
        return "not a fragment"
    return f"units of 8 bytes: its data begin at byte {int(value) * 8} of the datagram's"


def _seq(_value: Any, layer: Any, context: Context) -> str:
    relative = context.row.get("relative_seq")
    if relative is None:
        return ""
    size = context.row.get("payload_bytes") or 0
    told = f"{relative} from the stream's start"
    if "S" in str(layer.flags):
        return "the stream's start: chosen at random"
    return f"{told}: its data are bytes {relative} to {relative + size - 1}" if size else told


def _ack(value: Any, layer: Any, context: Context) -> str:
    if "A" not in str(layer.flags):
        return "no acknowledgement" if not value else "not valid: the ACK flag is not set"
    relative = context.row.get("relative_ack")
    return "" if relative is None else f"{relative} from the other stream's start: all before it has come"


def _tcp_flags(value: Any, _layer: Any, _context: Context) -> str:
    return flag_names(int(value))


def _window(value: Any, _layer: Any, context: Context) -> str:
    scaled = context.row.get("window")
    if scaled is None or scaled == value:
        return "bytes the sender has room for"
    return f"times {scaled // int(value) if value else 1}: {scaled:,} bytes the sender has room for"


def _icmp_type(value: Any, _layer: Any, _context: Context) -> str:
    return ICMP_TYPES.get(int(value), "")


def _icmp_code(value: Any, layer: Any, _context: Context) -> str:
    return ICMP_CODES.get((int(layer.type), int(value)), "")


def _operation(value: Any, layer: Any, _context: Context) -> str:
    if value == 1:
        return f"request: who has {layer.pdst}?"
    return f"reply: {layer.psrc} is at {layer.hwsrc}" if value == 2 else ""


def _dscp(value: Any, _layer: Any, _context: Context) -> str:
    return "ordinary" if not value else f"DSCP {int(value) >> 2}, ECN {int(value) & 3}"


_MEANINGS: dict[tuple[str, str], str | Callable[[Any, Any, Context], str]] = {
    ("Ether", "dst"): _station,
    ("Ether", "src"): _station,
    ("Ether", "type"): _ethertype,
    ("Dot1Q", "vlan"): lambda value, *_: "none: only a priority" if not value else "number of the network",
    ("Dot1Q", "type"): _ethertype,
    ("IP", "ihl"): _words,
    ("IP", "tos"): _dscp,
    ("IP", "len"): "bytes of this packet, header included",
    ("IP", "id"): "fragments of one datagram share it",
    ("IP", "flags"): _ip_flags,
    ("IP", "frag"): _offset,
    ("IP", "ttl"): "each router takes one off, and drops the packet at 0",
    ("IP", "proto"): _protocol,
    ("IP", "src"): _host,
    ("IP", "dst"): _host,
    ("TCP", "seq"): _seq,
    ("TCP", "ack"): _ack,
    ("TCP", "dataofs"): _words,
    ("TCP", "flags"): _tcp_flags,
    ("TCP", "window"): _window,
    ("UDP", "len"): "bytes of this datagram, header included",
    ("ICMP", "type"): _icmp_type,
    ("ICMP", "code"): _icmp_code,
    ("ARP", "hwtype"): lambda value, *_: "Ethernet" if value == 1 else "",
    ("ARP", "ptype"): _ethertype,
    ("ARP", "op"): _operation,
    ("ARP", "hwsrc"): _station,
    ("ARP", "psrc"): _host,
    ("ARP", "hwdst"): _asked_station,
    ("ARP", "pdst"): _host,
}
