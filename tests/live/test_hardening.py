"""Each program in its container has the powers its role needs, and no other."""

from __future__ import annotations

from pathlib import Path

import docker
from compose_lab import two_hosts
from docker_lab import all_ready, free_subnet, hear_until, serve

from lab.engines import labels
from lab.engines.compose import ComposeEngine
from lab.engines.docker_resources import find
from lab.topology import Program


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
