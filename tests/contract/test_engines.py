"""The contract that every engine keeps: real hosts, real programs in them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from composes import ENGINES, chosen
from engine_lab import WITHIN_S, Lab, facts_or_skip
from engine_topologies import build, diagnose, engine_of

from lab.analysis.ring_blocks import left_here, make_capture
from lab.engines import Engine, Leftover, News
from lab.engines.namespaces import CAPABILITIES
from lab.errors import RunFailed
from lab.topology import Facts, Program, Topology

OWNER = Path(__file__).with_name("engine_owner.py")
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=ENGINES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    with chosen(request.param) as name:
        yield name


@pytest.fixture(scope="module")
def facts(name: str) -> Facts:
    return facts_or_skip(name)


@pytest.fixture
def lab_of(name: str, facts: Facts, tmp_path: Path) -> Callable[[Topology], Lab]:
    return lambda topology: Lab(engine_of(name), topology, tmp_path)


def test_hosts_reach_one_another_by_name_and_by_address(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    serve = diagnose("server", "server", "serve", "--port", "7000")
    by_name = diagnose("client", "fleet", "reach", "--host", "server", "--port", "7000")
    by_itself = diagnose("server", "capture", "reach", "--host", "server", "--port", "7000")
    with lab_of(build(facts, [serve, by_name, by_itself])) as lab:
        lab.start("server/server")
        lab.wait_ready("server/server")
        lab.start("client/fleet", "server/capture")
        reached = lab.event("client/fleet", "reached")
        assert (reached["answer"], reached["address"]) == ("server", lab.address("server"))
        assert lab.event("server/capture", "reached")["answer"] == "server"
        by_address = [diagnose("client", "fleet", "reach", "--host", lab.address("server"), "--port", "7000")]
        if lab.engine.name == "netns":  # a container's program is fixed with its topology
            lab.exit_code("client/fleet")
            lab.heard.clear()
            lab.engine.start(by_address)
            assert lab.event("client/fleet", "reached")["answer"] == "server"


def test_sysctls_and_descriptor_limits_hold_and_the_hostname_is_the_hosts(
    lab_of: Callable[[Topology], Lab], facts: Facts
) -> None:
    wanted = {"net.ipv4.tcp_fin_timeout": "7", "net.ipv4.ip_local_port_range": "20000\t20999"}
    keys = [word for key in wanted for word in ("--sysctl", key)]
    report = diagnose("server", "server", "report", *keys, nofile=1234)
    with lab_of(build(facts, [report], sysctls={k: v.replace("\t", " ") for k, v in wanted.items()})) as lab:
        lab.start("server/server")
        found = lab.event("server/server", "report")
    assert found["sysctls"] == wanted
    assert found["nofile"] == [1234, 1234]
    assert found["hostname"] == "server"
    assert "eth0" in found["interfaces"]


def test_a_cpu_limit_holds_each_program(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    if "limits" in facts.missing:
        pytest.skip("this user cannot have control groups for CPU and memory")
    spend = diagnose("server", "server", "spend", "--seconds", "0.8")
    with lab_of(build(facts, [spend], cpus=0.25, memory_bytes=200 << 20)) as lab:
        lab.start("server/server")
        spent = lab.event("server/server", "spent")
    # A quarter of a processor makes it 4 times; time that a virtual machine stands still counts as spent.
    assert spent["wall_ns"] > 1.5 * spent["cpu_ns"]


def test_a_program_has_just_the_capabilities_it_asks_for(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    wanted = {"server": (), "capture": ("NET_RAW",), "fleet": ("NET_ADMIN", "NET_RAW")}
    programs = [diagnose("server", role, "report", capabilities=these) for role, these in wanted.items()]
    with lab_of(build(facts, programs, hosts=("server",))) as lab:
        lab.start(*(program.name for program in programs))
        found = {role: lab.event(f"server/{role}", "report") for role in wanted}
    for role, these in wanted.items():
        mask = sum(1 << CAPABILITIES.index(capability) for capability in these)
        assert found[role]["capabilities"]["Prm"] == found[role]["capabilities"]["Eff"] == mask
        assert found[role]["capabilities"]["Bnd"] & ~mask == 0
        assert found[role]["no_new_privs"]


def test_a_capture_armed_before_the_traffic_misses_nothing(
    lab_of: Callable[[Topology], Lab], facts: Facts, tmp_path: Path
) -> None:
    count = 500
    capture = Program(
        host="server",
        role="capture",
        image="capture",
        module="lab.inside.capture",
        arguments=("--interface", "eth0", "--filter", "udp dst port 7001", "--snaplen", "128", "--name", "server"),
        capabilities=("NET_RAW",),
    )
    send = diagnose("client", "fleet", "send", "--host", "server", "--port", "7001", "--count", str(count))
    with lab_of(build(facts, [capture, send])) as lab:
        lab.start("server/capture", "client/fleet")
        lab.wait_ready("server/capture", "client/fleet")
        lab.engine.signal(["client/fleet"], "USR1")
        assert lab.event("client/fleet", "sent")["count"] == count
        lab.engine.signal(["server/capture"], "TERM")
        assert lab.exit_code("server/capture") == 0
        recorded = lab.event("server/capture", "result")["interfaces"]["eth0"]
        left, made = lab.collected("server"), tmp_path / "made.pcapng"
        make_capture(left, made) if left_here(left) else (left / "capture.pcapng").rename(made)
        assert made.stat().st_size > count * 50
    assert (recorded["received"], recorded["dropped"], recorded["written"]) == (count, 0, count)


def test_offloads_can_be_switched_off_on_every_host(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    with lab_of(build(facts, [], offloads="off")) as lab:
        for host in ("server", "client"):
            offloads = lab.event(f"{host}/host", "ready")["interfaces"]["eth0"]["offloads"]
            assert [offloads[kind] for kind in ("tso", "gso", "tx_checksum")] == [False, False, False]


def test_collect_returns_every_file_byte_for_byte(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    files = {"server": ("deep/er/large.bin", 5_000_001), "fleet": ("empty.bin", 0), "capture": ("small.bin", 17)}
    programs = [
        diagnose("server", role, "write", "--file", file, "--bytes", str(size)) for role, (file, size) in files.items()
    ]
    with lab_of(build(facts, programs, hosts=("server",))) as lab:
        lab.start(*(program.name for program in programs))
        for role, (file, size) in files.items():
            written = lab.event(f"server/{role}", "written")
            assert lab.exit_code(f"server/{role}") == 0
            content = (lab.collected("server") / file).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (size, written["sha256"])
        lab.engine.signal(["server/host"], "TERM")
        assert lab.exit_code("server/host") == 0
        after = lab.collected("server")
        assert {str(f.relative_to(after)) for f in after.rglob("*.bin")} == {file for file, _size in files.values()}
        assert (after / "host.json").stat().st_size > 0


def test_a_program_that_dies_early_gives_its_last_words_before_its_exit_code(
    lab_of: Callable[[Topology], Lab], facts: Facts
) -> None:
    programs = [
        diagnose("server", "server", "end", "--code", "3", "--say", "out of luck\nand time"),
        Program(host="client", role="fleet", module="lab.inside.no_such_program", arguments=()),
    ]
    with lab_of(build(facts, programs)) as lab:
        lab.start("server/server", "client/fleet")
        assert lab.exit_code("server/server") == 3
        assert lab.said_by("server/server") == ["out of luck", "and time"]
        assert lab.exit_code("client/fleet") == 1
        assert "no_such_program" in lab.said_by("client/fleet")[-1]
        lab.engine.signal(["server/server"], "TERM")  # one that has ended is left alone


def test_signals_arrive_and_a_killed_program_tells_it(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    serve = [diagnose(host, "server", "serve", "--port", "7000") for host in ("server", "client")]
    with lab_of(build(facts, serve)) as lab:
        lab.start("server/server", "client/server")
        lab.wait_ready("server/server", "client/server")
        lab.engine.signal(["server/server"], "USR2")
        assert lab.event("server/server", "usage")["threads"] == 1
        lab.engine.signal(["server/server"], "TERM")
        assert lab.exit_code("server/server") == 0
        lab.engine.signal(["client/server"], "KILL")
        assert lab.exit_code("client/server") == 128 + 9


def test_execute_returns_the_exit_code_and_talks_on_this_terminal(
    lab_of: Callable[[Topology], Lab], facts: Facts, capfd: pytest.CaptureFixture[str]
) -> None:
    with lab_of(build(facts, [])) as lab:
        assert lab.engine.execute("server", ["sh", "-c", "hostname; exit 7"], interactive=False) == 7
        assert capfd.readouterr().out == "server\n"
        assert lab.engine.execute("client", ["grep", "-q", lab.address("server"), "/etc/hosts"], interactive=False) == 0
        # What cannot be run is 127 to shells and 126 to some versions of Docker.
        assert lab.engine.execute("client", ["no-such-command"], interactive=False) in (126, 127)
        with pytest.raises(RunFailed, match="nobody"):
            lab.engine.execute("nobody", ["true"], interactive=False)


def test_two_runs_at_once_do_not_disturb_each_other(lab_of: Callable[[Topology], Lab], facts: Facts) -> None:
    serve = diagnose("server", "server", "serve", "--port", "7000")
    reach = diagnose("client", "fleet", "reach", "--host", "server", "--port", "7000")
    with lab_of(build(facts, [serve, reach])) as first:
        with lab_of(build(facts, [serve, reach])) as second:
            for lab in (first, second):
                lab.start("server/server")
                lab.wait_ready("server/server")
            assert {left.run for left in first.engine.leftovers() if left.alive} >= {first.run_id, second.run_id}
            second.start("client/fleet")
            assert second.event("client/fleet", "reached")["address"] == second.address("server")
        first.start("client/fleet")
        assert first.event("client/fleet", "reached")["address"] == first.address("server")
        assert [left for left in first.engine.leftovers() if left.run == second.run_id] == []


def test_down_may_be_called_twice_and_before_anything_is_up(
    name: str, lab_of: Callable[[Topology], Lab], facts: Facts
) -> None:
    engine_of(name).down()
    with lab_of(build(facts, [], hosts=("server",))) as lab:
        assert lab.engine.next_news(0.0) is None, "nothing runs that would say anything"
        lab.engine.down()
        lab.engine.down()
        assert [left for left in lab.engine.leftovers() if left.run == lab.run_id] == []


def test_a_run_that_was_left_is_found_again_with_what_its_programs_said(
    name: str, facts: Facts, tmp_path: Path
) -> None:
    run = tmp_path / f"left-{os.getpid()}"
    run.mkdir()
    with pytest.raises(RunFailed):
        engine_of(name).attach(run)
    with owner(name, run, "leave") as process:
        phases_until(process, "leave")
        process.communicate(timeout=WITHIN_S)
    engine = engine_of(name)
    engine.attach(run)
    try:
        heard = hear(engine, lambda news: len(news) == 3)
        assert sorted(news.program for news in heard) == ["client/host", "server/host", "server/server"]
        assert {news.event["event"] for news in heard if news.event} == {"ready"}
        assert engine.execute("client", ["true"], interactive=False) == 0
    finally:
        engine.leave()
    engine = engine_of(name)
    engine.attach(run)
    try:
        engine.signal(["server/server"], "TERM")
        last = hear(engine, lambda news: bool(news) and news[-1].exit_code is not None)[-1]
        assert (last.program, last.exit_code) == ("server/server", 0)
    finally:
        engine.down()
    assert of_run(name, run.name) == []
    with pytest.raises(RunFailed):
        engine_of(name).attach(run)


def test_what_a_killed_lab_leaves_is_removed_and_a_living_run_is_not_touched(
    name: str, lab_of: Callable[[Topology], Lab], facts: Facts, tmp_path: Path
) -> None:
    serve = diagnose("server", "server", "serve", "--port", "7000")
    reach = diagnose("client", "fleet", "reach", "--host", "server", "--port", "7000")
    run = tmp_path / f"killed-{os.getpid()}"
    run.mkdir()
    with lab_of(build(facts, [serve, reach])) as living:
        with owner(name, run, "start") as process:
            phases_until(process, "start")
            assert all(left.alive for left in of_run(name, run.name))
            process.kill()
            process.communicate(timeout=WITHIN_S)
        engine = engine_of(name)
        left = of_run(name, run.name)
        assert not any(leftover.alive for leftover in left)
        engine.remove(left)
        assert of_run(name, run.name) == []
        living.start("server/server")
        living.wait_ready("server/server")
        living.start("client/fleet")
        assert living.event("client/fleet", "reached")["answer"] == "server"


def hear(engine: Engine, enough: Callable[[list[News]], bool]) -> list[News]:
    """Return the news that comes until there is enough."""
    heard: list[News] = []
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end and not enough(heard):
        news = engine.next_news(1.0)
        if news is not None:
            heard.append(news)
    return heard


# ---- a process that owns a run


@contextmanager
def owner(name: str, run: Path, phase: str) -> Iterator[subprocess.Popen[str]]:
    """Start `engine_owner.py`; it is ended on exit whatever happened."""
    with subprocess.Popen(
        [sys.executable, str(OWNER), name, str(run), phase],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def phases_until(process: subprocess.Popen[str], last: str) -> None:
    """Read the phases a process tells until it has reached the last one."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line.strip())
        if seen[-1] == last:
            return
    pytest.fail(f"the owner ended after {seen}, not at {last}")


def of_run(name: str, run: str) -> list[Leftover]:
    return [leftover for leftover in engine_of(name).leftovers() if leftover.run == run]
