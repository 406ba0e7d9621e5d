"""Programs that turn out of a fork of the holder: what exec would have made of them, they are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from netns_lab import (
    PROJECT,
    WITHIN_S,
    bring_up,
    host,
    news_until_exit,
    output,
    program,
    said_without_rights,
)

from lab.engines.namespaces import CAPABILITIES
from lab.engines.netns import FOLDER_NAME, NetnsEngine
from lab.engines.netns_programs import python_command
from lab.errors import RunFailed
from lab.topology import Facts

NEVER = ("--sample", str(10**15))
KEEPER = ("--name", "a", *NEVER)
CAPTURE = ("--interface", "eth0", "--filter", "tcp port 9000 and not (host 192.0.2.1 or host 192.0.2.2)", "--name", "a")


def start(engine: NetnsEngine, module: str, *arguments: str, capability: str) -> None:
    engine.start([program(*arguments, module=module, capabilities=(capability,))])


def until_ready(engine: NetnsEngine) -> None:
    while True:
        news = engine.next_news(WITHIN_S)
        assert news is not None
        assert news.exit_code is None, news
        if news.event is not None and news.event["event"] == "ready":
            return


def process_of(folder: Path, module: str) -> Path:
    """Where /proc shows the program of a run that has `module` in its command line."""
    of_run = f"LAB_OUT={folder / FOLDER_NAME}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = ((process / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:  # another's, or one that has just ended
            continue
        if module.encode() in command.split(b"\0") and of_run in variables:
            return process
    raise AssertionError(f"nothing shows {module} in its command line and {of_run!r} in its environment")


def status(process: Path) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)


def status_of_waiting_keeper(engine: NetnsEngine, folder: Path) -> dict[str, str]:
    """As /proc tells it of a keeper that has not given up its capability yet, since its interface does not come."""
    bring_up(engine, folder, host("a", "10.64.0.2"))
    start(engine, "lab.inside.host", "--interface", "none0", capability="NET_ADMIN")
    return status(process_of(folder, "lab.inside.host"))


CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")


def of_one(capability: str) -> list[str]:
    one = f"{1 << CAPABILITIES.index(capability):016x}"
    return ["0" * 16, one, one, one, "0" * 16, "1"]


def test_a_program_has_the_capability_it_was_given_and_no_other(engine: NetnsEngine, tmp_path: Path) -> None:
    found = status_of_waiting_keeper(engine, tmp_path)
    assert [found[name] for name in CAPABILITY_SETS] == of_one("NET_ADMIN")


@pytest.mark.skipif(os.getuid() != 0, reason="every test already runs as an ordinary user")
def test_it_is_so_in_a_user_namespace_too(tmp_path: Path, facts: Facts) -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from lab.engines.netns import NetnsEngine\n"
        "from test_netns_forked import status_of_waiting_keeper\n"
        "engine = NetnsEngine(); assert engine.facts().engine_version.endswith('user namespace')\n"
        "print(json.dumps(status_of_waiting_keeper(engine, Path(sys.argv[1])))); engine.down()"
    )
    found = json.loads(said_without_rights(code, tmp_path))
    assert [found[name] for name in CAPABILITY_SETS] == of_one("NET_ADMIN")


@pytest.mark.parametrize(
    ("module", "arguments", "capability"),
    [("lab.inside.host", KEEPER, "NET_ADMIN"), ("lab.inside.capture", CAPTURE, "NET_RAW")],
    ids=["keeper", "capture"],
)
def test_armed_it_has_no_capability_and_shows_its_own_command_line_name_and_environment(
    engine: NetnsEngine, tmp_path: Path, module: str, arguments: tuple[str, ...], capability: str
) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    start(engine, module, *arguments, capability=capability)
    until_ready(engine)
    process = process_of(tmp_path, module)
    found = status(process)
    assert [found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4
    assert int(found["CapBnd"], 16) == 1 << CAPABILITIES.index(capability)
    assert found["Name"] == module.rpartition(".")[2]
    assert (process / "cmdline").read_text().split("\0")[:-1] == list(python_command(module, arguments))
    variables = dict(line.split("=", 1) for line in (process / "environ").read_text().split("\0")[:-1])
    assert set(variables) == {"HOME", "LAB_BARRIER", "LAB_HOST", "LAB_OUT", "LANG", "PATH", "PYTHONPATH"}
    assert (variables["LAB_HOST"], variables["LAB_BARRIER"]) == ("a", "signal")


def test_nothing_is_open_in_it_but_its_own(engine: NetnsEngine, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    try:
        bring_up(engine, tmp_path, host("a", "10.64.0.2"), host("b", "10.64.0.3"))
    finally:
        os.close(read_end)
        os.close(write_end)
    start(engine, "lab.inside.host", *KEEPER, capability="NET_ADMIN")
    until_ready(engine)
    folder = process_of(tmp_path, "lab.inside.host") / "fd"
    opened = [os.readlink(folder / name) for name in sorted(os.listdir(folder), key=int)]
    silence, out, err, wakeup, wakeup_too, counters = opened
    assert (silence, wakeup) == (os.devnull, wakeup_too)
    assert len({out, err, wakeup}) == 3
    assert all(place.startswith("pipe:") for place in (out, err, wakeup))
    assert counters == str(tmp_path / FOLDER_NAME / "a" / "out" / "counters.jsonl")


def test_no_command_in_a_host_has_the_way_to_the_holder(
    engine: NetnsEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    assert "socket:" not in output(engine, capfd, "a", "ls", "-l", "/proc/self/fd")


def test_an_exception_is_told_as_the_interpreter_tells_it(engine: NetnsEngine, tmp_path: Path) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    (tmp_path / FOLDER_NAME / "a" / "out" / "host.ready").mkdir()
    start(engine, "lab.inside.host", *KEEPER, capability="NET_ADMIN")
    *heard, end = news_until_exit(engine)
    lines = [news.log or "" for news in heard]
    assert end.exit_code == 1
    assert lines[0] == "Traceback (most recent call last):"
    assert f'"{PROJECT}/lab/inside/host.py"' in lines[1]
    assert lines[-1].startswith("IsADirectoryError: ")


def test_what_is_wrong_before_it_runs_fails_by_name(engine: NetnsEngine, facts: Facts, tmp_path: Path) -> None:
    bring_up(engine, tmp_path, host("a", "10.64.0.2"))
    too_many = facts.nofile_hard + 1
    with pytest.raises(RunFailed, match=rf"a/server: {too_many} descriptors .* above the hard limit"):
        engine.start([program(*CAPTURE, module="lab.inside.capture", nofile=too_many)])


# ---- without a host


def turned_into(folder: Path, main: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """What becomes of a process that has forked a program of this text, and what the program said."""
    (folder / "planted.py").write_text(
        f"import ctypes, json, os, posix, signal, sys\ndef main():\n    {main}\n    return 0\n"
    )
    code = (
        "import os, sys; from lab.engines import netns_forked, shown_process\n"
        f"sys.path.append({str(folder)!r}); {before or 'pass'}\n"
        "closed, failure = os.pipe()\n"
        "pid = netns_forked.fork_for('planted')\n"
        "if pid == 0:\n"
        "    netns_forked.turn_into('planted', ('python', 'ü', '-x'), ('ü', '-x'), {'A': 'ü'}, failure)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env={"HOLDERS": "1", "LANG": "C.UTF-8"},
    )


def test_a_program_finds_its_arguments_its_environment_and_the_interpreters_signals(tmp_path: Path) -> None:
    main = (
        "c = ctypes.CDLL(None); c.getenv.restype = ctypes.c_char_p; print(json.dumps("
        "[sys.argv, dict(os.environ), {k.decode(): v.decode() for k, v in posix.environ.items()},"
        " c.getenv(b'A').decode(), c.getenv(b'HOLDERS'),"
        " [n for n in range(1, 32) if signal.getsignal(n) is signal.SIG_IGN]]), flush=True)"
    )
    done = turned_into(tmp_path, main)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [str(tmp_path / "planted.py"), "ü", "-x"],
        {"A": "ü"},
        {"A": "ü"},
        "ü",
        None,
        [signal.SIGPIPE, signal.SIGXFSZ],
    ]


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        ("return 3", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(4)", 4, ""),
        ("sys.exit('out of luck')", 1, "out of luck\n"),
    ],
)
def test_a_program_ends_with_the_code_it_gives(tmp_path: Path, main: str, code: int, said: str) -> None:
    done = turned_into(tmp_path, main)
    assert (done.returncode, done.stderr) == (code, said)


def test_where_the_kernel_lets_nobody_name_the_place_the_command_line_stands_in_its_parents(tmp_path: Path) -> None:
    main = "print(open('/proc/self/cmdline').read().rstrip('\\0').split('\\0'))"
    done = turned_into(tmp_path, f"{main}; sys.stdout.flush()", before="shown_process._PR_SET_MM = -1")
    assert done.stdout == "['python', 'ü', '-x']\n", done.stderr
