"""The parsers on real /proc text, and the facts about TCP counters that reconciling relies on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from two_hosts import Host, two_hosts

from lab.inside import counters

PROC = Path("/proc/self/net")

# Cut from a Linux 6.18 machine.
SNMP = """\
Icmp: InMsgs InErrors
Icmp: 6 0
Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens InSegs OutSegs RetransSegs OutRsts
Tcp: 1 -1 3 31232 187350 124886 0 7
"""
NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 0 36 36
IpExt: InOctets OutOctets
IpExt: 11990904 8742776
"""
DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0: 1234567     890    0    1    0     0          0         0   765432     987    0    2    0     0       0          0
"""  # noqa: E501 - the kernel's own columns


def test_snmp_and_netstat_share_one_form() -> None:
    assert counters.parse_snmp(SNMP)["Tcp.OutSegs"] == 124886
    assert counters.parse_snmp(SNMP)["Tcp.MaxConn"] == -1
    assert counters.parse_snmp(NETSTAT) == {
        "TcpExt.SyncookiesSent": 0,
        "TcpExt.ListenOverflows": 36,
        "TcpExt.ListenDrops": 36,
        "IpExt.InOctets": 11990904,
        "IpExt.OutOctets": 8742776,
    }


def test_snmp6_names_are_split_behind_the_protocol() -> None:
    assert counters.parse_snmp6("Ip6InReceives   \t13\nUdpLite6OutDatagrams\t2\n") == {
        "Ip6.InReceives": 13,
        "UdpLite6.OutDatagrams": 2,
    }


def test_sockstat_of_both_families() -> None:
    text = "sockets: used 81\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1\n"
    assert counters.parse_sockstat(text)["sockstat.TCP.tw"] == 2
    assert counters.parse_sockstat("TCP6: inuse 3\n") == {"sockstat.TCP6.inuse": 3}


def test_dev_has_sixteen_columns_an_interface() -> None:
    parsed = counters.parse_dev(DEV)
    assert len(parsed) == 32
    assert parsed["dev.eth0.rx_packets"] == 890
    assert parsed["dev.eth0.rx_dropped"] == 1
    assert parsed["dev.eth0.tx_packets"] == 987
    assert parsed["dev.eth0.tx_dropped"] == 2


def test_softnet_is_hexadecimal_and_summed_over_processors() -> None:
    text = "0000000a 00000001 00000000 00000000\n000000ff 00000000 00000002 00000000\n"
    assert counters.parse_softnet(text) == {"softnet.processed": 265, "softnet.dropped": 1, "softnet.time_squeeze": 2}


def test_every_file_of_this_kernel_is_understood() -> None:
    read = counters.read_counters()
    assert read["Ip.DefaultTTL"] > 0
    assert {"Tcp.OutSegs", "TcpExt.ListenOverflows", "Udp.RcvbufErrors", "sockstat.TCP.inuse", "dev.lo.rx_packets"} <= (
        read.keys()
    )
    words = [word for line in (PROC / "netstat").read_text().splitlines()[0::2] for word in line.split()[1:]]
    assert sum(name.startswith(("TcpExt.", "IpExt.", "MPTcpExt.")) for name in read) == len(words)


def test_difference_keeps_what_changed_and_counts_a_missing_counter_as_0() -> None:
    assert counters.difference({"a": 1, "b": 5}, {"b": 7, "a": 1, "c": 3}) == {"b": 2, "c": 3}
    assert counters.nonzero({"a": 0, "b": -1}) == {"b": -1}


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as pair:
        yield pair


def change(host: Host, before: counters.Counters) -> counters.Counters:
    return counters.difference(before, now(host))


def now(host: Host) -> counters.Counters:
    return {
        **counters.parse_snmp(host.counters_text("snmp")),
        **counters.parse_snmp(host.counters_text("netstat")),
    }


def test_a_reset_that_answers_a_segment_without_a_socket_is_an_out_segment(hosts: tuple[Host, Host]) -> None:
    server, client = hosts
    before = now(server)
    client.python(
        "import socket, sys\n"
        "for _ in range(20):\n"
        "    with socket.socket() as refused:\n"
        "        assert refused.connect_ex((sys.argv[1], 9)) != 0\n",
        server.address,
    )
    delta = change(server, before)
    assert (delta["Tcp.InSegs"], delta["Tcp.OutSegs"], delta["Tcp.OutRsts"]) == (20, 20, 20)


# The client lets no answer through to its socket, so that both sides send again what they sent: SYN and SYN-ACK.
DEAF_CLIENT = """
import ctypes, socket, struct, sys, time
reject = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))
with socket.socket() as deaf:
    deaf.setsockopt(socket.SOL_SOCKET, 26, struct.pack("@HP", 1, ctypes.addressof(reject)))
    deaf.settimeout(1.6)
    try:
        deaf.connect((sys.argv[1], 9011))
    except TimeoutError:
        print("unanswered")
"""


def test_a_syn_ack_sent_again_is_counted_twice_and_a_syn_once(hosts: tuple[Host, Host]) -> None:
    server, client = hosts
    server_before, client_before = now(server), now(client)
    listening = server.background("import socket, sys; s = socket.create_server((sys.argv[1], 9011)); ", server.address)
    with listening:
        assert client.python(DEAF_CLIENT, server.address) == "unanswered\n"
        at_server, at_client = change(server, server_before), change(client, client_before)
    assert counters.segments_received(at_server) == counters.segments_sent(at_client, 0)
    again = counters.syn_ack_retransmissions(at_server)
    assert again is not None
    assert again > 0
    assert at_server["Tcp.OutSegs"] == 1 + again
    assert counters.segments_sent(at_server, again) == counters.segments_received(at_client)
    assert counters.syn_ack_retransmissions(at_client) == 0


def test_syn_ack_retransmissions_of_a_host_that_opens_and_accepts_are_unknown() -> None:
    both = {"TcpExt.TCPSynRetrans": 3, "Tcp.ActiveOpens": 1, "Tcp.PassiveOpens": 1}
    assert counters.syn_ack_retransmissions(both) is None
    assert counters.syn_ack_retransmissions({**both, "TcpExt.TCPSynRetrans": 0}) == 0


def test_the_processors_time_is_told_in_nanoseconds_and_adds_up() -> None:
    text = "cpu  10 1 5 100 4 0 2 3 7 0\ncpu0 5 0 2 50 2 0 1 1 3 0\n"
    told = counters.parse_stat(text)
    assert (told["Cpu.user_ns"], told["Cpu.steal_ns"]) == (100_000_000, 30_000_000)
    assert told["Cpu.total_ns"] == 125 * 10_000_000, "guest time is part of user time"
