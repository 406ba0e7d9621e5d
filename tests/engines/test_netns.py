"""What is the netns engine's own, beyond the contract every engine keeps (`tests/contract/test_engines.py`)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from netns_lab import PROJECT, WITHIN_S, bring_up, host, news_until_exit, output, program, run_of, said_without_rights

from lab.engines.cgroups import run_folders
from lab.engines.netns import NetnsEngine
from lab.errors import RunFailed
from lab.topology import Facts


def test_nothing_of_the_users_environment_reaches_a_program(
    engine: NetnsEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("http_proxy", "http://192.0.2.1")
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    engine.start([program("report")])
    event = news_until_exit(engine)[0].event
    assert event is not None
    assert event["environment"] == sorted(["HOME", "LAB_BARRIER", "LAB_HOST", "LAB_OUT", "LANG", "PATH", "PYTHONPATH"])


def test_a_host_sees_its_own_interfaces_and_knows_each_host_on_each_network(
    engine: NetnsEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2", "10.64.1.2"), host("b", "10.64.0.3"), mtu=9000)
    assert output(engine, capfd, "a", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    assert output(engine, capfd, "b", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    assert output(engine, capfd, "b", "cat", "/sys/class/net/eth0/mtu", "/sys/class/net/eth0/address").split() == [
        "9000",
        "02:00:0a:40:00:03",
    ]
    lines = output(engine, capfd, "b", "cat", "/etc/hosts").splitlines()
    assert lines[2:] == ["10.64.0.2 a a.net0", "10.64.1.2 a.net1", "10.64.0.3 b b.net0"]


def test_hosts_send_nothing_of_themselves(
    engine: NetnsEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"), host("b", "10.64.0.3"))
    engine.start([program("spend", "--seconds", "0.5")])
    news_until_exit(engine)
    assert output(engine, capfd, "b", "cat", "/sys/class/net/eth0/statistics/rx_packets") == "0\n"


def test_every_line_comes_once_and_in_order_however_slowly_it_is_read(engine: NetnsEngine, tmp_path: Path) -> None:
    lines = [str(number) for number in range(20_000)]
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    engine.start([program("end", "--code", "0", "--say", "\n".join(lines))])
    assert [news.log for news in news_until_exit(engine)[:-1]] == lines


def test_what_a_program_leaves_running_ends_with_it(engine: NetnsEngine, tmp_path: Path) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    engine.start([program("end", "--code", "0", "--say", "bye", "--leave-child")])
    heard = news_until_exit(engine)
    (left,) = (news.event for news in heard if news.event is not None)
    end = time.monotonic() + WITHIN_S
    while engine.execute("a", ["test", "-e", f"/proc/{left['pid']}"], interactive=False) == 0:
        assert time.monotonic() < end, "the child still runs"


@pytest.mark.parametrize(
    ("sysctls", "why"),
    [
        ({"kernel.pid_max": "100"}, "kernel.pid_max: not one that a network namespace has"),
        ({"net.ipv4.no_such_thing": "1"}, "net.ipv4.no_such_thing: this kernel has none of that name in a host"),
        ({"net.ipv4.ip_local_port_range": "9 3"}, "ip_local_port_range: the kernel refuses the value '9 3'"),
    ],
    ids=["of the machine", "unknown", "bad value"],
)
def test_a_sysctl_that_cannot_be_set_fails_the_run_by_name_and_leaves_nothing(
    engine: NetnsEngine, tmp_path: Path, sysctls: dict[str, str], why: str
) -> None:
    with pytest.raises(RunFailed, match=why):
        bring_up(engine, tmp_path, host("a", "10.64.0.2", sysctls=sysctls))
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_cannot_be_started_fails_by_name(engine: NetnsEngine, facts: Facts, tmp_path: Path) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    too_many = facts.nofile_hard + 1
    with pytest.raises(RunFailed, match=rf"a/server: {too_many} descriptors .* above the hard limit"):
        engine.start([program("report", nofile=too_many)])
    engine.start([program("report")])
    assert news_until_exit(engine)[-1].exit_code == 0


def test_collect_copies_while_programs_run_and_links_when_they_have_ended(engine: NetnsEngine, tmp_path: Path) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    engine.start([program("serve", "--port", "7000")])
    ready = engine.next_news(WITHIN_S)
    assert ready is not None
    assert ready.event is not None
    engine.collect("a", tmp_path / "early")
    assert (tmp_path / "early" / "diagnose.ready").stat().st_nlink == 1
    engine.signal(["a/server"], "TERM")
    news_until_exit(engine)
    engine.collect("a", tmp_path / "late")
    assert (tmp_path / "late" / "diagnose.ready").stat().st_nlink == 2


def test_the_groups_that_hold_limits_go_with_the_run(engine: NetnsEngine, facts: Facts, tmp_path: Path) -> None:
    if "limits" in facts.missing:
        pytest.skip("this user cannot have control groups for CPU and memory")
    assert bring_up(engine, tmp_path, host("a", "10.64.0.2", cpus=0.5, memory_bytes=100 << 20)) == []
    folders = run_folders(run_of(tmp_path))
    engine.start([program("serve", "--port", "7000")])
    assert [len([child for child in folder.iterdir() if child.is_dir()]) for folder in folders] == [1] * len(folders)
    engine.down()
    assert [folder for folder in folders if folder.exists()] == []


def test_a_limit_that_cannot_hold_is_told_and_the_run_goes_on(
    engine: NetnsEngine, facts: Facts, tmp_path: Path
) -> None:
    if "limits" not in facts.missing:
        pytest.skip("this user can have limits")
    (said,) = bring_up(engine, tmp_path, host("a", "10.64.0.2", cpus=0.5))
    assert "CPU and memory limits do not hold" in said


def test_a_command_on_a_terminal_has_that_terminal(engine: NetnsEngine, tmp_path: Path) -> None:
    """Typed at a pseudo-terminal: the command sees a terminal of the same size, and what is typed reaches it."""
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    engine.leave()
    code = (
        "import sys; from pathlib import Path; from lab.engines.netns import NetnsEngine\n"
        "engine = NetnsEngine(); engine.attach(Path(sys.argv[1]))\n"
        "code = engine.execute('a', ['sh', '-c', 'tty; stty size; read word; echo got $word; exit 9'],"
        " interactive=True)\n"
        "engine.leave(); sys.exit(code)"
    )
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    os.close(theirs)
    os.write(terminal, b"hello\n")
    shown = b""
    try:
        while select.select([terminal], [], [], WITHIN_S)[0]:
            shown += os.read(terminal, 4096)
        process.kill()
    except OSError:  # EIO: its other end is closed, the process has ended
        pass
    finally:
        os.close(terminal)
        code_of_lab = process.wait(WITHIN_S)
        engine.attach(tmp_path)
    words = shown.decode().split()
    assert code_of_lab == 9, shown.decode()
    assert "33 77" in shown.decode()
    assert "got hello" in shown.decode()
    assert any(word.startswith("/dev/") for word in words)


def test_interactive_without_a_terminal_passes_standard_input_on(engine: NetnsEngine, tmp_path: Path) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    engine.leave()
    code = (
        "import sys; from pathlib import Path; from lab.engines.netns import NetnsEngine\n"
        "engine = NetnsEngine(); engine.attach(Path(sys.argv[1]))\n"
        "engine.execute('a', ['cat'], interactive=True); engine.leave()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        input="through\n",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=WITHIN_S,
        check=True,
    )
    engine.attach(tmp_path)
    assert done.stdout == "through\n"


@pytest.mark.skipif(os.getuid() != 0, reason="every test already runs as an ordinary user")
def test_a_user_without_any_right_builds_hosts_in_a_user_namespace(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from lab.engines.netns import NetnsEngine\n"
        "from netns_lab import bring_up, host, news_until_exit, program\n"
        "engine = NetnsEngine(); print(engine.facts().engine_version)\n"
        "bring_up(engine, Path(sys.argv[1]), host('a', '10.64.0.2'), host('b', '10.64.0.3'))\n"
        "engine.start([program('report', capabilities=('NET_RAW',))])\n"
        "print(news_until_exit(engine)[0].event['capabilities']['Eff']); engine.down()"
    )
    version, capabilities = said_without_rights(code, tmp_path).splitlines()
    assert version.endswith("user namespace")
    assert int(capabilities) == 1 << 13
