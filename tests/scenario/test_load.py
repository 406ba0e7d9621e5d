"""Loading a scenario: every problem at once, each with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ScenarioInvalid
from lab.scenario.load import load

GOOD = """\
title: Two clients
hosts:
  server: {}
  client: {count: 2}
server: {model: epoll, port: 9000}
fleet:
  connections: 200
  phases:
    - {phase: connect}
    - {phase: load, messages: 1}
    - {phase: drain}
capture:
  - {host: server}
expect:
  - {what: fleet.opened, equal: fleet.connections}
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    return file


def problems(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioInvalid) as caught:
        load(written(tmp_path, text), overrides)
    return [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems]


def test_a_good_scenario_loads_with_its_defaults(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD)).scenario
    assert scenario.fleet.connections == 200
    assert scenario.fleet.message.size == 64
    assert [phase.phase for phase in scenario.fleet.phases] == ["connect", "load", "drain"]
    assert scenario.networks["lan"].mtu == 1500


def test_an_unknown_key_names_its_line_what_is_allowed_and_the_nearest(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("connections: 200", "conections: 200"))
    assert found[0].startswith("lab.yaml:6: fleet.connections: missing")
    assert found[1].startswith("lab.yaml:7: fleet.conections: unknown key, got 'conections'; allowed: close, connect")
    assert "did you mean `connections`?" in found[1]


def test_an_unknown_key_in_a_phase_names_that_phases_keys(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD.replace("{phase: load, messages: 1}", "{phase: load, messages: 1, thnk: 5ms}"))
    assert found.startswith("lab.yaml:10: fleet.phases[1].thnk: unknown key")
    assert "allowed: active, concurrency, duration, messages, model, phase, pipeline, think" in found


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        GOOD.replace("port: 9000", "port: 70000").replace("messages: 1", "duration: 5").replace("count: 2", "count: 0")
    )
    found = problems(tmp_path, text)
    assert [line.split(": ")[0] for line in found] == ["lab.yaml:4", "lab.yaml:5", "lab.yaml:10"]
    assert "hosts.client.count" in found[0]
    assert "server.port" in found[1]
    assert "not a duration, got 5" in found[2]


def test_an_unknown_phase_names_the_phases(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD.replace("phase: load, messages: 1", "phase: explode"))
    assert (
        "fleet.phases[1]: unknown phase, got 'explode'; allowed: connect, hold, load, churn, burst, slow-read, drain"
        in found
    )


def test_a_duplicate_key_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD + "title: Again\n")
    assert found == "lab.yaml:16: title: given twice, first at line 1; a key stands once"


def test_what_is_no_yaml_says_where(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "title: [unclosed\nhosts: {}\n")
    assert found.startswith("lab.yaml:2: not YAML:")


def test_more_connections_than_ports_is_a_contradiction_with_the_remedy(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, GOOD.replace("connections: 200", "connections: 100k"))
    assert found.startswith(
        "lab.yaml:7: fleet.connections: at most 28232 a client host with this port range, got 50000 on each of 2"
    )
    assert "hint: raise hosts.client.count to 4" in found


def test_a_wider_port_range_is_counted(tmp_path: Path) -> None:
    text = GOOD.replace("connections: 200", "connections: 100k").replace(
        "{count: 2}", '{count: 2, sysctls: {net.ipv4.ip_local_port_range: "1024 65535"}}'
    )
    assert load(written(tmp_path, text)).scenario.fleet.connections == 100_000


def test_more_descriptors_than_workers_can_hold_is_a_contradiction(tmp_path: Path) -> None:
    text = GOOD.replace("server: {}", "server: {nofile: 128}").replace("port: 9000", "port: 9000, workers: 2")
    (found,) = problems(tmp_path, text)
    assert "server.workers: 2 workers with 128 descriptors each can hold 128 connections, got 200" in found


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("model: epoll", "model: epol", "server.model: unknown I/O model, got 'epol'; allowed: blocking"),
        ("port: 9000", "port: 9000, handler: shout", "server.handler"),
        ("connections: 200", "connections: 200\n  message: {framing: morse}", "fleet.message.framing"),
        ("{host: server}", "{host: sever}", "capture[0].host: no such host, got 'sever'"),
        ("what: fleet.opened", "what: fleet.opend.x", "expect[0].what: unknown measure"),
        ("equal: fleet.connections", "equal: fleet.conections", "expect[0].equal: no such key in the scenario"),
        (
            "capture:\n  - {host: server}\nexpect:\n  - {what: fleet.opened",
            "expect:\n  - {what: answers.all",
            "expect[0]: `answers.all` is found in a capture, and the scenario captures nothing",
        ),
        ("equal: fleet.connections", "because: so", "expect[0]: nothing to compare with"),
        ("server: {}", "server: {sysctls: {kernel.pid_max: 5}}", "only names under net."),
        ("server: {}", "server: {networks: [wan]}", "hosts.server.networks[0]: no such network"),
        ("{phase: connect}", "{phase: hold, duration: 1s}", "`hold` needs open connections"),
        (
            "phase: load, messages: 1",
            "phase: load, model: ajar",
            "fleet.phases[1].model: unknown load model, got 'ajar'",
        ),
        ("messages: 1", "think: 1ms", "ends after `messages` or after `duration`"),
        (
            "{model: epoll, port: 9000}",
            "{model: twisted}\nboundaries: 3",
            "boundaries: the twisted server makes its calls",
        ),
        ("port: 9000", "port: 9000, queue: 4", "server.queue: the epoll server has no bounded queue, got 4"),
        ("port: 9000", 'port: 9000, handler: "tickets:1ms"', "server.handler: `tickets` answers with numbers"),
        (
            "{model: epoll, port: 9000}\nfleet:",
            '{model: udp, handler: "tickets:1ms"}\nfleet:\n  transport: udp',
            "server.handler: `tickets` would change the numbers",
        ),
        (
            "{model: epoll, port: 9000}\nfleet:",
            "{model: udp, handler: upper}\nfleet:\n  transport: udp",
            "server.handler: `upper` would change the numbers",
        ),
    ],
)
def test_contradictions_are_named_by_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert any(says in line for line in problems(tmp_path, GOOD.replace(old, new, 1)))


def test_an_override_sets_a_key_and_its_type_is_checked(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD), ["fleet.connections=10k"]).scenario.fleet.connections == 10_000
    (found,) = problems(tmp_path, GOOD, "fleet.connections=many")
    assert found.startswith("lab.yaml:7: fleet.connections: not a count, got 'many'")
    assert "(from --set fleet.connections=many)" in found


def test_an_override_reaches_into_lists_and_sysctls(tmp_path: Path) -> None:
    loaded = load(
        written(tmp_path, GOOD),
        ["fleet.phases[1].messages=3", "hosts.server.sysctls.net.core.somaxconn=99", "fleet.message.size=1KiB"],
    )
    assert loaded.scenario.fleet.phases[1].messages == 3
    assert loaded.scenario.hosts["server"].sysctls == {"net.core.somaxconn": "99"}
    assert loaded.scenario.fleet.message.size == 1024


@pytest.mark.parametrize("override", ["fleet.connections", "=5", "fleet.phases[9].messages=3", "title.x=3"])
def test_an_override_that_fits_nowhere_is_refused(tmp_path: Path, override: str) -> None:
    assert problems(tmp_path, GOOD, override)


def test_the_resolved_scenario_loads_again_and_is_the_same(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, GOOD), ["fleet.connections=10k"])
    again = load(written(tmp_path, loaded.to_yaml()))
    assert again.scenario == loaded.scenario
