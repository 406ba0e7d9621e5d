"""The parts of the netns engine that need no namespace: channel, backlog, host files, control groups' settings."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engines import netns_backlog
from lab.engines.cgroups import Trees
from lab.engines.netns_backlog import Backlog
from lab.engines.netns_channel import Channel, Message
from lab.engines.netns_files import collect_files
from lab.engines.netns_hosts import files_only, hosts_file
from lab.engines.netns_runs import process_mark
from lab.errors import RunFailed
from lab.topology import Host, Interface

WITHIN_S = 10.0


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = (Channel(end) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


def receive(channel: Channel, count: int) -> list[Message]:
    messages: list[Message] = []
    while len(messages) < count:
        assert channel.wait(WITHIN_S)
        messages += channel.read()
    return messages


def test_messages_arrive_whole_and_in_order_through_a_socket_that_takes_them_in_pieces(
    ends: tuple[Channel, Channel],
) -> None:
    ours, theirs = ends
    sent = [{"number": number, "text": "ü\n" * 40_000} for number in range(20)]
    for message in sent:
        ours.put(message)
    assert ours.pending > 0
    received: list[Message] = []
    while len(received) < len(sent):
        assert theirs.wait(WITHIN_S)
        received += theirs.read()
        ours.flush()
    assert received == sent


def test_descriptors_arrive_with_their_message_and_no_other(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    read_end, write_end = os.pipe()
    ours.put({"number": 1})
    ours.put_with_descriptors({"number": 2, "with_descriptors": True}, (read_end, write_end, write_end), WITHIN_S)
    ours.put({"number": 3})
    first, second, third = receive(theirs, 3)
    for descriptor in (read_end, write_end):
        os.close(descriptor)
    assert (first, third) == ({"number": 1}, {"number": 3})
    read_end, write_end, again = second["descriptors"]
    os.write(again, b"through")
    assert os.read(read_end, 100) == b"through"
    for descriptor in (read_end, write_end, again):
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


def test_a_hang_up_is_told_after_what_was_sent_before_it(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.put({"number": 1})
    ours.close()
    assert theirs.read() == [{"number": 1}]
    with pytest.raises(ConnectionError):
        theirs.read()


def test_news_waits_in_order_and_nothing_is_dropped_while_a_lab_is_subscribed(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netns_backlog, "NEWS_MAX", 10)
    ours, theirs = ends
    backlog = Backlog()
    backlog.subscriber = ours
    for number in range(30):
        backlog.append_line("a/server", "err", str(number))
    assert backlog.full, "the holder stops reading from programs"
    backlog.pass_on()
    assert not backlog.full
    assert [news["line"] for news in receive(theirs, 30)] == [str(number) for number in range(30)]


def test_without_a_lab_the_oldest_lines_go_their_number_is_told_and_ends_are_kept(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netns_backlog, "NEWS_MAX", 10)
    ours, theirs = ends
    backlog = Backlog()
    backlog.append_exit("a/capture", 3)
    for number in range(30):
        backlog.append_line("a/server", "err", str(number))
    assert not backlog.full
    backlog.subscriber = ours
    backlog.pass_on()
    told, *rest = receive(theirs, 11)
    lines = [news["line"] for news in rest if "line" in news]
    assert told["line"] == f"({30 - len(lines)} earlier lines of the run were dropped while no lab listened)"
    assert lines == [str(number) for number in range(30 - len(lines), 30)]
    assert {"news": "a/capture", "exit": 3} in rest


def test_what_a_leaving_lab_had_not_read_comes_again_first(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    backlog = Backlog()
    backlog.append_line("a/server", "err", "later")
    backlog.put_back([{"news": "a/server", "stream": "err", "line": line} for line in ("first", "second")])
    backlog.subscriber = ours
    backlog.pass_on()
    assert [news["line"] for news in receive(theirs, 3)] == ["first", "second", "later"]


def test_a_hosts_name_is_its_first_address_and_each_network_has_a_name_for_it() -> None:
    interfaces = tuple(Interface(name=f"eth{i}", network=f"net{i}", address=f"10.0.{i}.2", prefix=24) for i in range(2))
    text = hosts_file([Host(name="router", interfaces=interfaces, sysctls={})])
    assert text.splitlines()[2:] == ["10.0.0.2 router router.net0", "10.0.1.2 router.net1"]


def test_names_are_looked_up_in_files_whatever_the_machine_asks_first() -> None:
    text = "passwd: files sss\n hosts: mymachines resolve [!UNAVAIL=return] files dns\nservices: files\n"
    assert files_only(text).splitlines() == ["passwd: files sss", "services: files", "hosts: files"]


def test_limits_are_written_as_each_generation_of_control_groups_wants_them() -> None:
    new = Trees(version=2, cpu=Path("/g"), memory=Path("/g"))
    assert new.limits("x", 0.5, 1000) == {
        Path("/g/x/cpu.max"): "50000 100000",
        Path("/g/x/memory.max"): "1000",
    }
    assert new.folders("x") == (Path("/g/x"),)
    old = Trees(version=1, cpu=Path("/c"), memory=Path("/m"))
    assert old.limits("x", 2, None) == {
        Path("/c/x/cpu.cfs_period_us"): "100000",
        Path("/c/x/cpu.cfs_quota_us"): "200000",
    }
    assert old.folders("x") == (Path("/c/x"), Path("/m/x"))


def test_a_process_is_known_by_more_than_its_number() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process_mark(process.pid) is None, "a zombie has ended"
    assert process_mark(process.pid) is None
    assert process_mark(os.getpid()) == process_mark(os.getpid())
    assert process_mark(os.getpid()) != process_mark(os.getppid())


def test_a_file_that_cannot_be_collected_whole_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / "pipe")
    with pytest.raises(RunFailed, match="pipe"):
        collect_files(tmp_path / "out", tmp_path / "copy", final=False)
    with pytest.raises(RunFailed, match="nowhere"):
        collect_files(tmp_path / "nowhere", tmp_path / "copy", final=True)
