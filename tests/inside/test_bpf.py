"""Capture filters: compiled by libpcap, the same by scapy, refused with libpcap's words."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from lab.inside import bpf


@pytest.mark.parametrize(
    "text", ["tcp port 9000", "udp and host 10.0.0.1", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", ""]
)
def test_the_program_keeps_snaplen_bytes_or_none(text: str) -> None:
    program = bpf.compile_filter(text, 128)
    kept = {k for code, _jt, _jf, k in program if code == 0x06}  # BPF_RET | BPF_K
    assert kept == ({128, 0} if text else {128})


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is missing")
def test_the_program_is_tcpdumps() -> None:
    shown = subprocess.run(
        ["tcpdump", "-y", "EN10MB", "-s", "96", "-ddd", "tcp", "port", "80"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    expected = [tuple(map(int, line.split())) for line in shown[1:]]
    assert bpf.compile_filter("tcp port 80", 96) == expected


def test_scapy_compiles_the_same_where_libpcap_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    by_libpcap = bpf.compile_filter("tcp port 9000", 128)
    monkeypatch.setattr(bpf, "_load_libpcap", lambda: None)
    try:
        by_scapy = bpf.compile_filter("tcp port 9000", 128)
    except RuntimeError as error:
        pytest.skip(f"scapy cannot compile here: {error}")
    assert by_scapy == by_libpcap


@pytest.mark.parametrize("text", ["tcp prt 9000", "port 99999999", "host", "tcp and and udp"])
def test_a_wrong_filter_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(bpf.FilterInvalid, match=r"^.+$") as refused:
        bpf.compile_filter(text, 128)
    assert "\n" not in str(refused.value)


def test_raw_ip_has_no_ethernet_header_to_skip() -> None:
    offsets = {k for code, _jt, _jf, k in bpf.compile_filter("ip proto 17", 128, bpf.LINKTYPE_RAW) if code == 0x30}
    assert 9 in offsets  # BPF_LD | BPF_B | BPF_ABS: the protocol field of an IPv4 header at 0


def test_an_attached_program_that_rejects_all_lets_nothing_through() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        bpf.attach(receiver, bpf.REJECT_ALL)
        sender.sendto(b"refused", receiver.getsockname())
        bpf.attach(receiver, [(0x06, 0, 0, 0xFFFF)])
        sender.sendto(b"let in", receiver.getsockname())
        assert receiver.recv(100) == b"let in"
        with pytest.raises(BlockingIOError):
            receiver.recv(100)
