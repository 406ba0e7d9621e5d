"""CPU and memory limits of programs through control groups, where this user may make them.

Both generations, by what is mounted: version 2 (one tree; a group gives its children a controller through
`cgroup.subtree_control` and then may hold no process itself) and version 1 (a tree a controller). See cgroups(7).

A run has one group, `wirelab-<run>`, with a child for each limited program, beside or below the group the lab runs in:
limits set on the lab go on to hold.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "wirelab-"
PERIOD_US = 100_000
"""The span over which CPU time is counted out, the kernel's default."""
_REMOVE_WITHIN_S = 1.0


class NoLimits(Exception):
    """This user cannot limit programs here; `str()` says why."""


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Where new groups go: the parent folder for each controller; one and the same under version 2."""

    version: int
    cpu: Path
    memory: Path

    def folders(self, name: str) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.cpu / name, self.memory / name)))

    def limits(self, name: str, cpus: float | None, memory_bytes: int | None) -> Mapping[Path, str]:
        """What to write where, for one group."""
        settings: dict[Path, str] = {}
        cpu, memory = self.cpu / name, self.memory / name
        if cpus is not None:
            quota = round(cpus * PERIOD_US)
            if self.version == 2:
                settings[cpu / "cpu.max"] = f"{quota} {PERIOD_US}"
            else:
                settings[cpu / "cpu.cfs_period_us"] = str(PERIOD_US)
                settings[cpu / "cpu.cfs_quota_us"] = str(quota)
        if memory_bytes is not None:
            file = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
            settings[memory / file] = str(memory_bytes)
        return settings


class Limits:
    """The groups of one run."""

    def __init__(self, run: str) -> None:
        """Make the run's group. Raises NoLimits."""
        self._name = PREFIX + run
        self._trees = find_trees()
        try:
            for folder in self._trees.folders(self._name):
                folder.mkdir()
                if self._trees.version == 2:
                    (folder / "cgroup.subtree_control").write_text("+cpu +memory")
            self._try_to_join()
        except OSError as error:
            self.remove()
            raise NoLimits(f"control groups cannot be made: {error}") from error

    def _try_to_join(self) -> None:
        """Move a child into a group: the right to make groups is not the right to move processes into them.

        Raises: PermissionError.
        """
        group = self.group("trial", cpus=1, memory_bytes=None)
        pid = os.fork()
        if pid == 0:
            try:
                group.join()
                os._exit(0)
            except OSError:
                os._exit(1)
        _pid, status = os.waitpid(pid, 0)
        group.remove()
        if status:
            raise PermissionError("processes of this user may not be moved into groups of its own")

    def group(self, program: str, *, cpus: float | None, memory_bytes: int | None) -> Group:
        """Make a program's group. Raises OSError."""
        name = f"{self._name}/{program.replace('/', '.')}"
        group = Group(self._trees.folders(name))
        for folder in group.folders:
            folder.mkdir(exist_ok=True)
        for file, value in self._trees.limits(name, cpus, memory_bytes).items():
            file.write_text(value)
        return group

    def remove(self) -> None:
        for folder in self._trees.folders(self._name):
            _remove_tree(folder)


@dataclass(frozen=True)
class Group:
    """The control groups of one program."""

    folders: tuple[Path, ...]

    def join(self) -> None:
        """Put this process into the group."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text("0")

    def remove(self) -> None:
        """Remove the group; its processes have ended, or are being killed."""
        for folder in self.folders:
            _remove_empty(folder)


def run_folders(run: str) -> tuple[Path, ...]:
    """Where a run's groups are, should it have any."""
    try:
        return find_trees().folders(PREFIX + run)
    except NoLimits:
        return ()


def remove_run(folders: tuple[Path, ...]) -> None:
    """Remove a run's groups: called by the guard when all processes of the run have ended. Raises OSError."""
    for folder in folders:
        _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    if folder.is_dir():
        for child in folder.iterdir():
            if child.is_dir():
                _remove_empty(child)
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove a group, waiting for killed processes to leave it. Raises OSError when they do not."""
    end = time.monotonic() + _REMOVE_WITHIN_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def find_trees() -> Trees:
    """Find where this process may have groups made. Raises NoLimits."""
    mounts = list(_mounts())
    own = _own_groups()
    for kind, point, _options in mounts:
        if kind == "cgroup2":
            for parent in _upward(point, own.get("", "/")):
                if {"cpu", "memory"} <= set(_words(parent / "cgroup.subtree_control")):
                    return Trees(version=2, cpu=parent, memory=parent)
    found = {}
    for controller in ("cpu", "memory"):
        for kind, point, options in mounts:
            if kind == "cgroup" and controller in options:
                found[controller] = next(_upward(point, own.get(controller, "/")))
    if len(found) == 2:
        return Trees(version=1, **found)
    raise NoLimits("no control groups for CPU and memory are in reach of this user")


def _mounts() -> Iterator[tuple[str, Path, list[str]]]:
    """File system type, mount point and super options of each mount (proc_pid_mountinfo(5))."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        kind, _source, options = after.split(" ", 2)
        yield kind, Path(before.split(" ")[4]), options.split(",")


def _own_groups() -> dict[str, str]:
    """This process's group by controller; version 2 under the empty name."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _upward(point: Path, group: str) -> Iterator[Path]:
    """The group's folder, as far as it can be seen from here, and then its parents up to the mount point."""
    folder = point / group.lstrip("/")
    while not folder.is_dir():
        folder = folder.parent
    yield folder
    while folder != point:
        folder = folder.parent
        yield folder


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
