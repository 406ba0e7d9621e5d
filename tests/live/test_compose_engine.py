"""What the compose engine does beyond the contract (tests/contract/test_engines.py), on a real Docker engine."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from compose_lab import keeper, two_hosts

from lab.engines import News, SubnetTaken, docker_facts, labels
from lab.engines.compose import FILE, ComposeEngine
from lab.engines.docker_access import compose_command, connect
from lab.engines.docker_resources import find, remove
from lab.engines.images import ROOT, ensure_images
from lab.errors import RunFailed, TeardownIncomplete
from lab.topology import Host, Interface, Network, Program, Topology

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

WITHIN_S = 60.0
MADE_HERE = "wirelab-test.made-by"


@pytest.fixture
def api() -> Iterator[docker.APIClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture
def engine() -> Iterator[ComposeEngine]:
    engine = ComposeEngine()
    yield engine
    engine.down()


@pytest.fixture
def run_id() -> str:
    return f"test-{secrets.token_hex(4)}"


def serve(host: str) -> Program:
    return Program(
        host=host,
        role="server",
        module="lab.inside.servers.epoll_server",
        arguments=("--bind", "0.0.0.0", "--port", "9000"),
    )


def free_subnet(api: docker.APIClient) -> str:
    """Return a /29 that no Docker network has."""
    taken = {pool["Subnet"] for n in api.networks() for pool in (n["IPAM"] or {}).get("Config") or []}
    while (subnet := f"10.{secrets.choice(range(100, 120))}.{secrets.randbelow(256)}.0/29") in taken:
        continue
    return subnet


def hear_until(engine: ComposeEngine, enough: Callable[[list[News]], bool]) -> list[News]:
    """Take in news until there is enough; fail after the bound with what was heard."""
    heard: list[News] = []
    deadline = time.monotonic() + WITHIN_S
    while not enough(heard):
        assert time.monotonic() < deadline, f"not enough was heard: {heard}"
        if news := engine.next_news(0.5):
            heard.append(news)
    return heard


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        threading.Event().wait(0.1)


def all_ready(count: int) -> Callable[[list[News]], bool]:
    return lambda heard: sum(n.event is not None and n.event["event"] == "ready" for n in heard) == count


def names_of(api: docker.APIClient, run_id: str) -> set[str]:
    return {resource.name for resource in find(api, run_id)}


# ---- images


def test_a_second_preparation_builds_nothing_and_has_nothing_to_say(api: docker.APIClient) -> None:
    first = ensure_images(api, ["host", "capture"], lambda _: None)
    said: list[str] = []
    assert ensure_images(api, ["host", "capture"], said.append) == first
    assert said == []


@pytest.mark.parametrize("image", ["host", "capture"])
def test_an_image_runs_as_nobody_and_has_no_trace_of_its_build(api: docker.APIClient, image: str) -> None:
    tag = ensure_images(api, [image], lambda _: None)[image].tag
    script = "id -u; python -V; test -e /wheels || echo no wheels; stat -c %a /out"
    said = subprocess.run(
        ["docker", "run", "--rm", tag, "sh", "-c", script], capture_output=True, text=True, check=True
    )
    uid, python, wheels, mode = said.stdout.split("\n")[:4]
    assert (uid, wheels, mode) == ("10001", "no wheels", "1777")
    assert python.startswith("Python 3.13.")


def test_stock_scapy_compiles_a_filter_with_the_libpcap_of_the_capture_image(api: docker.APIClient) -> None:
    tag = ensure_images(api, ["capture"], lambda _: None)["capture"].tag
    script = "from scapy.arch.common import compile_filter; print(compile_filter('tcp port 80', linktype=1).bf_len > 0)"
    words = ["docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", tag, "python", "-c", script]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True\n"


def test_the_probe_of_the_limits_is_made_once_and_again_after_it_was_refused(
    api: docker.APIClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tag = ensure_images(api, ["host"], lambda _: None)["host"].tag
    probes: list[str] = []
    probe = docker_facts._probe

    def counted(client: docker.APIClient, image: str) -> dict[str, object]:
        probes.append(image)
        return probe(client, image)

    monkeypatch.setattr(docker_facts, "_probe", counted)
    first = docker_facts.probe_limits(api, api.info(), tag)
    assert docker_facts.probe_limits(api, api.info(), tag) == first
    assert len(probes) == 1
    docker_facts.forget_limits()
    assert docker_facts.probe_limits(api, api.info(), tag) == first
    assert len(probes) == 2


def test_a_limit_the_engine_refuses_fails_the_start_and_drops_the_probes_findings(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hard = engine.facts().nofile_hard
    assert docker_facts.cache_file().exists()
    greedy = replace(serve("server"), nofile=hard + 1)
    engine.up(two_hosts(greedy, subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    with pytest.raises(RunFailed, match="server/server"):
        engine.start([greedy])
    assert not docker_facts.cache_file().exists()


# ---- hardening


def test_every_role_has_just_its_powers_on_a_read_only_root(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    capture = Program(
        host="server",
        role="capture",
        module="lab.inside.capture",
        arguments=("--interface", "eth0", "--name", "server"),
        image="capture",
        capabilities=("NET_RAW",),
    )
    topology = two_hosts(serve("server"), capture, subnet=free_subnet(api))
    engine.up(topology, run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    engine.start([serve("server"), capture])
    hear_until(engine, all_ready(4))
    facts = {}
    for resource in find(api, run_id):
        if resource.kind == "container":
            script = "grep -E '^(Uid|CapBnd|NoNewPrivs)' /proc/self/status; touch /x /opt/lab/x $(mktemp -p /out) 2>&1"
            said = api.exec_start(api.exec_create(resource.id, ["sh", "-c", script])).decode()
            fields = dict(line.split(":", 1) for line in said.splitlines() if "\t" in line)
            assert said.count("Read-only file system") == 2, said
            assert said.count("touch:") == 2, said
            facts[resource.labels[labels.PROGRAM]] = (
                fields["Uid"].split()[0],
                int(fields["CapBnd"], 16),
                fields["NoNewPrivs"].strip(),
            )
    net_admin, net_raw = 1 << 12, 1 << 13
    assert facts == {
        "server/host": ("0", net_admin, "1"),
        "client/host": ("0", net_admin, "1"),
        "server/capture": ("0", net_raw, "1"),
        "server/server": ("10001", 0, "1"),
    }


# ---- networks


def test_a_subnet_that_is_taken_is_told_and_leaves_nothing(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    subnet = free_subnet(api)
    taken = api.create_network(
        f"foreign-{run_id}", ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
    )
    try:
        assert subnet in engine.facts().taken_subnets
        with pytest.raises(SubnetTaken):
            engine.up(two_hosts(subnet=subnet), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
        assert names_of(api, run_id) == set()
        assert [n["Id"] for n in api.networks(names=[f"foreign-{run_id}"])] == [taken["Id"]]
    finally:
        api.remove_network(taken["Id"])


def test_interfaces_are_named_in_the_hosts_order_however_many_there_are(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    octet = secrets.randbelow(200)
    subnets = [f"10.121.{octet + n}.0/29" for n in range(4)]
    order = "dacb"
    host = Host(
        name="server",
        interfaces=tuple(
            Interface(name=f"eth{n}", network=name, address=subnets[n].replace(".0/29", ".3"), prefix=29)
            for n, name in enumerate(order)
        ),
        sysctls={},
    )
    topology = Topology(
        scenario="many",
        networks=tuple(Network(name=name, subnet=subnets[n], mtu=1500) for n, name in enumerate(order)),
        hosts=(host,),
        programs=(keeper("server"),),
    )
    engine.up(topology, run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    hear_until(engine, all_ready(1))
    script = (
        "import socket, fcntl, struct\n"
        "for name in (b'eth0', b'eth1', b'eth2', b'eth3'):\n"
        "    answer = fcntl.ioctl(socket.socket(2, 2), 0x8915, struct.pack('256s', name))  # SIOCGIFADDR\n"
        "    print(socket.inet_ntoa(answer[20:24]))\n"
    )
    container = next(r.id for r in find(api, run_id) if r.kind == "container")
    said = api.exec_start(api.exec_create(container, ["python", "-c", script])).decode()
    assert said.split() == [interface.address for interface in host.interfaces]


# ---- news


def test_news_comes_once_and_in_order_and_the_exit_after_the_last_line(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    script = "import os,sys\nfor n in range(20000): print(n)\nsys.stdout.flush()\nos._exit(7)"
    count = Program(host="server", role="server", module="timeit", arguments=("-n", "1", "-r", "1", script))
    engine.up(two_hosts(count, subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    engine.start([count])
    heard = hear_until(engine, lambda news: any(n.exit_code is not None for n in news))
    mine = [news for news in heard if news.program == count.name]
    assert [news.log for news in mine[:-1]] == [str(n) for n in range(20000)]
    assert mine[-1] == News(program=count.name, exit_code=7)


# ---- by hand


COMPOSE_BY_HAND = [("docker-compose",), ("docker", "compose")]


@pytest.mark.parametrize("words", COMPOSE_BY_HAND, ids=" ".join)
def test_a_runs_file_works_by_hand_and_its_down_removes_what_the_lab_made(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    try:
        subprocess.run([*words, "version"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"{' '.join(words)} is missing")
    ran = serve("server")
    engine.up(two_hosts(ran, subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    by_hand = [*words, "-f", str(tmp_path / FILE)]
    subprocess.run([*by_hand, "down", "-v", "-t", "1"], check=True, capture_output=True)
    assert names_of(api, run_id) == set()
    subprocess.run([*by_hand, "up", "-d"], check=True, capture_output=True)
    try:
        running = {r.labels[labels.PROGRAM] for r in find(api, run_id) if r.running}
        assert running == {"server/host", "client/host", "server/server"}
    finally:
        subprocess.run([*by_hand, "down", "-v", "-t", "1"], check=True, capture_output=True)
    assert names_of(api, run_id) == set()


@pytest.mark.parametrize("words", COMPOSE_BY_HAND, ids=" ".join)
def test_the_smallest_lab_runs_to_its_end_by_hand(api: docker.APIClient, run_id: str, words: tuple[str, ...]) -> None:
    try:
        subprocess.run([*words, "version"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"{' '.join(words)} is missing")
    for image in ensure_images(api, ["host", "capture"], lambda _: None).values():
        api.tag(image.tag, f"wirelab/{image.name}", "latest")
    by_hand = [*words, "-p", run_id, "-f", str(ROOT / "docker-compose.yml")]
    try:
        to_the_end = ["up", "--abort-on-container-exit", "--exit-code-from", "client.fleet"]
        ran = subprocess.run([*by_hand, *to_the_end], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
        assert '"opened":100' in ran.stdout
    finally:
        subprocess.run([*by_hand, "down", "-v", "-t", "1"], check=True, capture_output=True)


# ---- the end


def test_down_reports_what_a_stranger_holds_and_touches_no_stranger(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    engine.up(two_hosts(subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    network = next(r for r in find(api, run_id) if r.kind == "network")
    image = ensure_images(api, ["host"], lambda _: None)["host"].tag
    stranger = api.create_container(
        image, ["sleep", "300"], name=f"foreign-{run_id}", host_config=api.create_host_config(network_mode=network.name)
    )["Id"]
    try:
        api.start(stranger)
        with pytest.raises(TeardownIncomplete, match=f"foreign-{run_id}") as incomplete:
            engine.down()
        assert incomplete.value.exit_code == 5
        assert names_of(api, run_id) == {network.name}
        assert api.inspect_container(stranger)["State"]["Running"]
    finally:
        api.remove_container(stranger, force=True)
    engine.down()
    assert names_of(api, run_id) == set()


OWNER = """
import sys
from pathlib import Path
from compose_lab import two_hosts
from lab.engines.compose import ComposeEngine
engine = ComposeEngine()
topology = two_hosts(subnet=sys.argv[3])
engine.prepare(topology, lambda _: None)
print("up", flush=True)
engine.up(topology, run_id=sys.argv[1], run_folder=Path(sys.argv[2]), say=lambda _: None)
print("done", flush=True)
sys.stdin.read()
"""


def owner(run_id: str, folder: Path, subnet: str) -> subprocess.Popen[str]:
    """Start a lab process of its own that brings hosts up and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, run_id, str(folder), subnet],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'engines'}"},
    )


@pytest.mark.parametrize("moment", ["first container", "done"])
def test_after_kill_9_clean_removes_what_is_left_and_nothing_else(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, moment: str
) -> None:
    image = ensure_images(api, ["host"], lambda _: None)["host"].tag
    living = f"{run_id}-living"
    for folder in ("dead", "living"):
        (tmp_path / folder).mkdir()
    engine.up(two_hosts(subnet=free_subnet(api)), run_id=living, run_folder=tmp_path / "living", say=lambda _: None)
    before = names_of(api, living)
    foreign_network = api.create_network(f"foreign-{run_id}", labels={MADE_HERE: "test"})["Id"]
    foreign_volume = api.create_volume(f"foreign-{run_id}", labels={MADE_HERE: "test"})["Name"]
    foreign = api.create_container(image, ["sleep", "300"], name=f"foreign-{run_id}", labels={MADE_HERE: "test"})["Id"]
    try:
        with owner(run_id, tmp_path / "dead", free_subnet(api)) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            if moment == "done":
                assert process.stdout.readline() == "done\n"
            else:
                until(lambda: any(r.kind == "container" for r in find(api, run_id)), "the first container")
            process.kill()
        another = ComposeEngine()
        until(lambda: is_still(api, run_id), "the engine to end what was under way")
        left = [leftover for leftover in another.leftovers() if leftover.run == run_id]
        assert left
        assert not any(leftover.alive for leftover in left)
        assert all(leftover.alive for leftover in another.leftovers() if leftover.run == living)
        another.remove(left)
        assert names_of(api, run_id) == set()
        assert names_of(api, living) == before
        assert api.inspect_container(foreign)["Name"] == f"/foreign-{run_id}"
        assert api.inspect_network(foreign_network)["Name"] == api.inspect_volume(foreign_volume)["Name"]
    finally:
        remove(api, find(api, run_id))
        api.remove_container(foreign, force=True)
        api.remove_network(foreign_network)
        api.remove_volume(foreign_volume)


def is_still(api: docker.APIClient, run_id: str) -> bool:
    """Say whether nothing of a run appears any more."""
    before = names_of(api, run_id)
    threading.Event().wait(1.0)
    return names_of(api, run_id) == before


@pytest.mark.parametrize("when_s", [0.3, 0.9, 1.8])
def test_interrupted_anywhere_in_up_down_leaves_nothing(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path, when_s: float
) -> None:
    topology = two_hosts(serve("server"), subnet=free_subnet(api))
    engine.prepare(topology, lambda _: None)
    # It may come within up or after it.
    interrupt = threading.Timer(when_s, lambda: os.kill(os.getpid(), 2))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        interrupt.start()
        engine.up(topology, run_id=run_id, run_folder=tmp_path, say=lambda _: None)
        interrupt.join()
        threading.Event().wait(1.0)
    engine.down()
    assert is_still(api, run_id)
    assert names_of(api, run_id) == set()


def test_an_image_build_that_was_killed_leaves_nothing_that_clean_does_not_find(api: docker.APIClient) -> None:
    base = ensure_images(api, ["host"], lambda _: None)["host"].tag
    dockerfile = f"FROM {base}\nLABEL wirelab.stage=build\nRUN sleep 300 # {secrets.token_hex(4)}\n"
    script = (
        "import io, sys\nfrom lab.engines.docker_access import connect\n"
        "dockerfile = io.BytesIO(sys.argv[1].encode())\n"
        "for step in connect().build(fileobj=dockerfile, rm=True, forcerm=True, decode=True): pass\n"
    )
    before = {r.id for r in find(api)}
    with subprocess.Popen(
        [sys.executable, "-c", script, dockerfile], env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as build:
        until(lambda: any(r.running and r.id not in before for r in find(api)), "the build to run its step")
        mine = [r for r in find(api) if r.id not in before and r.labels.get(labels.STAGE) == labels.STAGE_BUILD]
        build.kill()
    until(lambda: not any(r.running for r in find(api) if r.id in {m.id for m in mine}), "the step to end")
    left = [leftover for leftover in ComposeEngine().leftovers() if leftover.name in {m.name for m in mine}]
    assert not any(leftover.alive for leftover in left)
    ComposeEngine().remove(left)
    assert {r.id for r in find(api)} & {m.id for m in mine} == set()


def test_compose_is_the_one_the_lab_says() -> None:
    assert compose_command()[0] in ("docker", "docker-compose")
