"""The compose engine: hosts as containers on any Docker host, put there by Docker Compose.

`up` writes the run's compose.yaml and lets Compose create what it says: networks, volumes and the hosts' keepers, then
the programs that join them. The rest goes through the engine's API, many requests at once: a container's output is
followed before the container starts, so nothing it says is missed; programs start together; removal needs no Compose.

What exists is never remembered, always found by its labels: an interruption at any point leaves an object whose `down`
removes all there is, and so does another process (`lab clean`).

Files in the run folder: compose.yaml and .env (the project's name), for use by hand too; .kept while `lab up` holds.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import docker
import yaml
from docker.errors import APIError
from requests.exceptions import RequestException

from lab.engines import Leftover, News, Say, SubnetTaken, child, compose_file, docker_facts, docker_resources, labels
from lab.engines.container_files import collect
from lab.engines.container_news import ContainerNews
from lab.engines.docker_access import compose_command, compose_version, connect
from lab.engines.docker_resources import AT_ONCE, Resource
from lab.engines.images import ROOT, ensure_images
from lab.errors import RunFailed, TeardownIncomplete
from lab.topology import Facts, Host, Program, Topology

FILE = "compose.yaml"
CREATE_S = 120.0
"""How long Compose may take to create everything."""
LATE_S = 1.0
"""A request that was under way when its sender was stopped shows its effect within this time."""

SUBNET_REFUSALS = ("Pool overlaps", "conflicts with network")
LIMIT_REFUSALS = ("rlimit", "ulimit", "RLIMIT")


def talk(line: str) -> None:
    """Say a line on standard error."""
    print(line, file=sys.stderr, flush=True)


class ComposeEngine:
    """One run out of containers. Use it from one thread."""

    name = "compose"

    def __init__(self, say: Say = talk) -> None:
        self._say = say
        """Takes what `facts` has to say: it builds a missing host image, to look at limits from inside."""
        self._run_id: str | None = None
        self._folder: Path | None = None
        self._containers: dict[str, str] = {}
        """Program name -> container id."""
        self._images: dict[str, str] = {}
        """Image name -> tag."""
        self._started: set[str] = set()
        self._disturbed = False
        """Whether something was stopped half-way, so that more may still appear in the engine."""

    @cached_property
    def _api(self) -> docker.APIClient:
        return connect()

    @cached_property
    def _news(self) -> ContainerNews:
        return ContainerNews(self._api)

    # ---- before hosts exist

    def facts(self) -> Facts:
        compose_command()
        image = ensure_images(self._api, ["host"], self._say)["host"]
        return docker_facts.docker_facts(self._api, image.tag, engine=self.name, version=compose_version())

    def prepare(self, topology: Topology, say: Say) -> dict[str, str]:
        images = ensure_images(self._api, {"host", *(p.image for p in topology.programs)}, say)
        self._images = {image.name: image.tag for image in images.values()}
        return {image.tag: image.id for image in images.values()}

    # ---- hosts

    def up(self, topology: Topology, *, run_id: str, run_folder: Path, say: Say) -> None:
        if not self._images:
            self.prepare(topology, say)
        self._run_id, self._folder = run_id, run_folder.resolve()
        text = self._write_file(topology)
        keepers = topology.of_role("host")
        others = [program for program in topology.programs if program not in keepers]
        begun: list[child.Begun] = []
        try:
            begun += [self._begin_compose(keepers)]
            begun += [self._begin_compose(others)] if others else []
            self._create(begun[0], text)
            for keeper in keepers:
                self._start_in_order(topology.host(keeper.host), keeper)
            self.start(keepers)
            for creates_others in begun[1:]:
                self._create(creates_others, text)
        except SubnetTaken:
            self.down()
            del self._news  # it is closed; the next try needs one that listens
            raise
        finally:
            for compose in begun:
                compose.stop()

    def _write_file(self, topology: Topology) -> str:
        assert self._run_id is not None
        assert self._folder is not None
        project = compose_file.render(
            topology,
            roles=compose_file.load_base(ROOT / "docker-compose.yml"),
            images=self._images,
            run_labels=labels.of_run(
                scenario=topology.scenario, run_id=self._run_id, folder=self._folder, owner=labels.Owner.current()
            ),
        )
        header = f"The hosts of {topology.scenario}, run {self._run_id}. By hand:\n  docker compose -f {FILE} up"
        (self._folder / ".env").write_text(f"COMPOSE_PROJECT_NAME={project_name(self._run_id)}\n")
        text = compose_file.to_yaml(project, header)
        (self._folder / FILE).write_text(text)
        return text

    def _begin_compose(self, programs: Sequence[Program]) -> child.Begun:
        """Start a Compose that will create programs' containers, without starting them, once it is given the file.

        Keepers must run before the programs that join their network are created: `docker-compose` 1.29 gives a program
        whose keeper does not run another network instead, and merely says so. So Compose is needed twice, and 1.29
        takes most of a second to load: both load at once, and each waits for its file on standard input.
        `--no-deps`: it would also wait until the keepers are healthy, but during a run nobody looks after their health.
        """
        assert self._run_id is not None
        words = [*compose_command(), "--project-name", project_name(self._run_id), "--file", "-", "up", "--no-start"]
        words += ["--no-deps", *(compose_file.service_name(program) for program in programs)]
        environment = {"LAB_BARRIER": "signal", "LAB_HEALTH_INTERVAL": "1h", "COMPOSE_HTTP_TIMEOUT": f"{CREATE_S:.0f}"}
        return child.Begun(words, cwd=self._folder, environment=environment)

    def _create(self, compose: child.Begun, text: str) -> None:
        """Give Compose its file and wait until the containers are there. Raises SubnetTaken, RunFailed."""
        self._disturbed = True
        ended = compose.end(timeout_s=CREATE_S, text=text)
        self._disturbed = ended.timed_out
        if ended.exit_code == 0:
            self._find_containers()
            return
        if any(refusal in ended.output for refusal in SUBNET_REFUSALS):
            raise SubnetTaken(ended.last_lines(1))
        self._notice_limits(ended.output)
        why = f"not done after {CREATE_S:.0f} s" if ended.timed_out else f"exit code {ended.exit_code}"
        raise RunFailed(f"compose: creating the hosts failed ({why})\n{ended.last_lines()}")

    def _find_containers(self) -> None:
        self._containers = {
            resource.labels[labels.PROGRAM]: resource.id
            for resource in self._resources()
            if labels.PROGRAM in resource.labels
        }

    def _resources(self) -> list[Resource]:
        assert self._run_id is not None
        return docker_resources.find(self._api, self._run_id)

    def _start_in_order(self, host: Host, keeper: Program) -> None:
        """Start the keeper of a host with several interfaces so that their names come in the host's order.

        The engine joins a starting container to its first network first, and to the others in no order; and
        `docker-compose` 1.29 joins it to the others only when it starts it itself. So those are taken off before the
        start where they are on, and put on one after the other once the keeper runs; it waits for its interfaces.
        """
        later = host.interfaces[1:]
        if not later:
            return
        container = self._containers[keeper.name]
        networks = {r.labels[labels.NETWORK]: r.id for r in self._resources() if r.kind == "network"}
        joined = self._api.inspect_container(container)["NetworkSettings"]["Networks"]
        on = {name for name, n in joined.items() if n["IPAMConfig"]["IPv4Address"] != host.interfaces[0].address}
        for name in on:
            self._api.disconnect_container_from_network(container, name)
        self.start([keeper])
        for interface in later:
            self._api.connect_container_to_network(
                container, networks[interface.network], ipv4_address=interface.address
            )

    # ---- programs

    def start(self, programs: Sequence[Program]) -> None:
        if unknown := [p.name for p in programs if p.name not in self._containers]:
            raise RunFailed(
                f"compose: no such program in this run, got {unknown[0]}; it has {sorted(self._containers)}"
            )
        names = [p.name for p in programs if p.name not in self._started]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="start") as pool:
            for _ in pool.map(lambda name: self._news.follow(name, self._containers[name]), names):
                pass
            self._started.update(names)
            for name, refusal in zip(names, pool.map(self._start_one, names), strict=True):
                if refusal:
                    raise RunFailed(f"{name}: cannot start: {refusal}")

    def _start_one(self, name: str) -> str | None:
        """Start a program's container; return why the engine refused."""
        try:
            self._api.start(self._containers[name])
        except APIError as error:
            reason = str(error.explanation or error)
            self._notice_limits(reason)
            return reason
        return None

    def _notice_limits(self, reason: str) -> None:
        """Probe anew next time if the engine refused a limit that the last probe had found allowed."""
        if any(word in reason for word in LIMIT_REFUSALS):
            docker_facts.forget_limits()

    def next_news(self, timeout_s: float) -> News | None:
        return self._news.next(timeout_s)

    def signal(self, programs: Sequence[str], name: str) -> None:
        if len(programs) == 1:
            self._signal_one(programs[0], name)
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="signal") as pool:
            for _ in pool.map(lambda program: self._signal_one(program, name), programs):
                pass

    def _signal_one(self, program: str, name: str) -> None:
        try:
            self._api.kill(self._containers[program], f"SIG{name}")
        except APIError as error:
            if error.status_code not in (404, 409):  # removed, not running: it has ended
                raise RunFailed(f"{program}: signal {name} cannot be sent: {error.explanation}") from error

    def collect(self, host: str, folder: Path) -> None:
        collect(self._api, self._keeper(host), "/out", folder, host)

    def _keeper(self, host: str) -> str:
        """Return the container of a host's keeper. Raises RunFailed naming the hosts there are."""
        keeper = self._containers.get(f"{host}/host")
        if keeper is None:
            known = ", ".join(name.partition("/")[0] for name in sorted(self._containers) if name.endswith("/host"))
            raise RunFailed(f"compose: no host of that name, got {host}; the run has {known or 'none'}")
        return keeper

    # ---- commands of the user

    def execute(self, host: str, command: Sequence[str], *, interactive: bool) -> int:
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        options = (["--interactive"] if interactive else []) + (["--tty"] if interactive and terminal else [])
        sys.stdout.flush()
        stdin = None if interactive else subprocess.DEVNULL
        # The shell makes the exit code of a command that cannot be run what shells say: 126 or 127. Engines differ.
        words = ["docker", "exec", *options, self._keeper(host), "sh", "-c", 'exec "$@"', "sh", *command]
        try:
            return subprocess.run(words, stdin=stdin, check=False).returncode
        except FileNotFoundError as error:
            raise RunFailed(
                "compose: the `docker` command is missing", hint="install it (Debian: docker.io)"
            ) from error

    def leave(self) -> None:
        assert self._folder is not None, "up comes first"
        (self._folder / labels.KEPT_MARK).touch()
        self._news.close()

    def attach(self, run_folder: Path) -> None:
        folder = run_folder.resolve()
        try:
            project = yaml.safe_load((folder / FILE).read_text())
        except FileNotFoundError as error:
            raise RunFailed(f"{folder}: no {FILE} there; the run was not brought up by engine compose") from error
        self._run_id = next(iter(project["volumes"].values()))["labels"][labels.RUN].replace("$$", "$")
        self._folder = folder
        self._find_containers()
        if not self._containers:
            raise RunFailed(f"run {self._run_id}: its hosts are gone", hint="bring it up again with `lab up`")
        for program, container in self._containers.items():
            if self._api.inspect_container(container)["State"]["StartedAt"] > "0002":  # year 1: never started
                self._started.add(program)
                self._news.follow_again(program, container)

    # ---- the end

    def down(self) -> None:
        if self._run_id is None:
            return
        try:
            remains = self._remove_until_none(self._run_id)
            if self._disturbed:
                time.sleep(LATE_S)
                remains = self._remove_until_none(self._run_id)
                self._disturbed = False
        except (APIError, RequestException) as error:
            raise TeardownIncomplete(
                f"compose: the engine does not answer: {error}", hint="once it runs again, `lab clean` removes the rest"
            ) from error
        self._news.close()
        self._containers.clear()
        self._started.clear()
        if self._folder is not None:
            with suppress(FileNotFoundError):
                (self._folder / labels.KEPT_MARK).unlink()
        docker_resources.refuse_remains(remains)

    def _remove_until_none(self, run_id: str) -> dict[str, str]:
        """Remove what carries the run's label until nothing does; return what cannot be removed."""
        remains: dict[str, str] = {}
        while True:
            found = docker_resources.find(self._api, run_id)
            if not found or (remains and {f"{r.kind} {r.name}" for r in found} <= set(remains)):
                return remains if found else {}
            remains = docker_resources.remove(self._api, found)

    def leftovers(self) -> list[Leftover]:
        return docker_resources.as_leftovers(docker_resources.find(self._api))

    def remove(self, leftovers: Sequence[Leftover]) -> None:
        wanted = {(leftover.kind, leftover.name, leftover.run) for leftover in leftovers}
        found = docker_resources.find(self._api)
        chosen = [r for r in found if (r.kind, r.name, r.run) in wanted]
        docker_resources.refuse_remains(docker_resources.remove(self._api, chosen))


def project_name(run_id: str) -> str:
    """Return the Compose project of a run; Compose takes lower case letters, digits, dashes and underscores."""
    return f"wirelab-{re.sub(r'[^a-z0-9_-]', '-', run_id.lower())}"
