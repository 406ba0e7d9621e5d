"""The kernel's own counters of one network stack, read from /proc/net and named as the kernel names them.

In: the text of /proc/net files. Out: flat dictionaries, `Tcp.OutSegs`, `TcpExt.ListenOverflows`, `sockstat.TCP.inuse`,
`dev.eth0.rx_packets`. Pure, but for `read_counters`.

What the TCP counters count, against a capture on the host's own interface (found by experiment on Linux 6.18 between
namespaces with offloads off; `tests/inside/test_counters.py` repeats the experiments):

    what happens                                             OutSegs  RetransSegs  InSegs  captured
    ───────────────────────────────────────────────────────  ───────  ───────────  ──────  ────────────────────
    SYN, data, bare acknowledgement, FIN sent first time         1         0               out 1
    SYN-ACK sent                                                 1         0               out 1
    RST answering a segment without a socket (OutRsts too)       1         0               out 1
    RST by abort or by close with unread data (OutRsts too)      1         0               out 1
    ACK sent out of TIME-WAIT or SYN-RECEIVED                    1         0               out 1
    keep-alive probe, zero-window probe                          1         0               out 1
    SYN, data or FIN retransmitted (by timer, loss probe)        0         1               out 1
    SYN-ACK retransmitted                                        1         1               out 1  <- counted twice
    any segment received, also one that a full accept queue
      (ListenDrops), a socket filter or a wrong checksum drops                       1     in 1
    segment sent while there is no route or the link is down     1         0               0      <- never on the wire
    SYN sent while the neighbour does not answer ARP             1         0 each          0      <- never on the wire
    with offloads on: a super-segment of n times the MSS sent    n         0               out 1
    with offloads on: the same super-segment received                                1     in 1
    over loopback: one segment                                   1         0         1     once on lo, as inbound

So, on a host whose links stay up, with offloads off and a capture of all its TCP, exactly:

    captured inbound  == InSegs
    captured outbound == OutSegs + RetransSegs - (SYN-ACKs retransmitted)

The kernel does not count SYN-ACK retransmissions alone: TcpExt.TCPSynRetrans joins them with those of SYNs. A host
that opens no connections itself has only the former, a host that accepts none only the latter; for one that does both
they have to be counted in the capture. TCP counters join IPv4 and IPv6, and all interfaces, `lo` included.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    Counters = dict[str, int]

_DEV_COLUMNS = (
    *("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo", "rx_frame", "rx_compressed", "rx_multicast"),
    *("tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo", "tx_collisions", "tx_carrier", "tx_compressed"),
)
"""The columns of /proc/net/dev, net/core/net-procfs.c."""

_SOFTNET_COLUMNS = ("processed", "dropped", "time_squeeze")
"""The first three columns of /proc/net/softnet_stat; a line a processor, of the whole machine, not this stack alone."""


def parse_snmp(text: str) -> Counters:
    """Parse /proc/net/snmp or /proc/net/netstat: lines in pairs, names then values, `Tcp: ..`."""
    counters: Counters = {}
    lines = iter(text.splitlines())
    for names, values in zip(lines, lines, strict=True):
        group, _, columns = names.partition(": ")
        numbers = values.partition(": ")[2].split()
        counters.update((f"{group}.{name}", int(n)) for name, n in zip(columns.split(), numbers, strict=True))
    return counters


def parse_snmp6(text: str) -> Counters:
    """Parse /proc/net/snmp6: a name and a value a line; `Udp6InDatagrams` becomes `Udp6.InDatagrams`."""
    counters: Counters = {}
    for line in text.splitlines():
        name, value = line.split()
        group, six, counter = name.partition("6")
        counters[f"{group}{six}.{counter}"] = int(value)
    return counters


def parse_sockstat(text: str) -> Counters:
    """Parse /proc/net/sockstat or sockstat6: `TCP: inuse 5 orphan 0 ..`; memory is in pages, fragments' in bytes."""
    counters: Counters = {}
    for line in text.splitlines():
        group, _, rest = line.partition(": ")
        words = rest.split()
        counters.update((f"sockstat.{group}.{name}", int(n)) for name, n in zip(words[::2], words[1::2], strict=True))
    return counters


def parse_dev(text: str) -> Counters:
    """Parse /proc/net/dev: a line an interface, behind two lines of headings."""
    counters: Counters = {}
    for line in text.splitlines()[2:]:
        name, _, columns = line.partition(":")
        numbers = map(int, columns.split())
        counters.update((f"dev.{name.strip()}.{column}", n) for column, n in zip(_DEV_COLUMNS, numbers, strict=True))
    return counters


def parse_softnet(text: str) -> Counters:
    """Parse /proc/net/softnet_stat, hexadecimal, summed over the processors."""
    rows = [[int(word, 16) for word in line.split()] for line in text.splitlines()]
    return {f"softnet.{name}": sum(row[i] for row in rows) for i, name in enumerate(_SOFTNET_COLUMNS)}


_CPU_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The columns of /proc/stat that add up to all time, proc_stat(5)."""


def parse_stat(text: str, tick_ns: int = 10_000_000) -> Counters:
    """Parse the first line of /proc/stat, of the whole machine: `Cpu.user_ns` ... `Cpu.steal_ns`, and `Cpu.total_ns`.

    `tick_ns` is the unit of the file, 1 / USER_HZ; guest time is part of user time and is not added again.
    """
    columns = text.splitlines()[0].split()[1 : 1 + len(_CPU_COLUMNS)]
    counters = {f"Cpu.{name}_ns": int(n) * tick_ns for name, n in zip(_CPU_COLUMNS, columns, strict=False)}
    return {**counters, "Cpu.total_ns": sum(counters.values())}


_FILES = {
    "snmp": parse_snmp,
    "netstat": parse_snmp,
    "snmp6": parse_snmp6,
    "sockstat": parse_sockstat,
    "sockstat6": parse_sockstat,
    "dev": parse_dev,
    "softnet_stat": parse_softnet,
}


def read_counters(folder: str | Path = "/proc/self/net") -> Counters:
    """Everything above of this process's network stack; a file that the kernel lacks (no IPv6) adds nothing."""
    counters: Counters = {}
    for name, parse in _FILES.items():
        try:
            with open(f"{folder}/{name}") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        counters.update(parse(text))
    with open("/proc/stat") as file:
        stat = file.read()
    counters.update(parse_stat(stat, 1_000_000_000 // os.sysconf("SC_CLK_TCK")))
    return counters


def nonzero(counters: Counters) -> Counters:
    """What is worth storing: of some 450 counters most are 0 for ever; a counter that is absent is 0."""
    return {name: value for name, value in counters.items() if value}


def segments_received(delta: Counters) -> int:
    """TCP segments that a capture of the host must show inbound, by the kernel's account."""
    return delta.get("Tcp.InSegs", 0)


def segments_sent(delta: Counters, syn_ack_retransmissions: int) -> int:
    """TCP segments that a capture of the host must show outbound, by the kernel's account; formula in the module."""
    return delta.get("Tcp.OutSegs", 0) + delta.get("Tcp.RetransSegs", 0) - syn_ack_retransmissions


def syn_ack_retransmissions(delta: Counters) -> int | None:
    """How many SYN-ACKs were retransmitted; None where the counters cannot tell and the capture must."""
    both = delta.get("TcpExt.TCPSynRetrans", 0)
    if both == 0 or delta.get("Tcp.ActiveOpens", 0) == 0:
        return both
    return 0 if delta.get("Tcp.PassiveOpens", 0) == 0 else None


def difference(before: Counters, after: Counters) -> Counters:
    """What changed, by how much."""
    return nonzero({name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()})
