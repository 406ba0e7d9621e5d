"""The kernel's own counters of one network stack, read from /proc/net and named as the kernel names them.

In: the text of /proc/net files. Out: flat dictionaries, `Tcp.OutSegs`, `TcpExt.ListenOverflows`, `sockstat.TCP.inuse`,
`dev.eth0.rx_packets`. Pure, but for `read_counters`.
"""

from __future__ import annotations

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


_FILES = {
    "snmp": parse_snmp,
    "netstat": parse_snmp,
    "snmp6": parse_snmp6,
    "sockstat": parse_sockstat,
    "sockstat6": parse_sockstat,
    "dev": parse_dev,
    "softnet_stat": parse_softnet,
}


def read_counters(folder: Path = Path("/proc/self/net")) -> Counters:
    """Everything above of this process's network stack; a file that the kernel lacks (no IPv6) adds nothing."""
    counters: Counters = {}
    for name, parse in _FILES.items():
        try:
            text = (folder / name).read_text()
        except FileNotFoundError:
            continue
        counters.update(parse(text))
    return counters


def nonzero(counters: Counters) -> Counters:
    """What is worth storing: of some 450 counters most are 0 for ever; a counter that is absent is 0."""
    return {name: value for name, value in counters.items() if value}


def difference(before: Counters, after: Counters) -> Counters:
    """What changed, by how much."""
    return nonzero({name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()})
