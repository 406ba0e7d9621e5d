"""What this machine allows the netns engine: tried in a child process, since trying means entering namespaces.

What was found is kept for as long as nothing it depends on changes (`kept`).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
from pathlib import Path
from typing import Any

from lab.engines.kept import kept, mark
from lab.engines.netns_programs import MODULE_PATH, python_command
from lab.errors import MachineLacks
from lab.topology import Facts

SETTINGS = (
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
    "kernel/io_uring_disabled",
    "fs/nr_open",
    *(f"user/max_{kind}_namespaces" for kind in ("user", "net", "mnt", "pid", "uts", "ipc")),
)
"""Under /proc/sys: what allows or forbids what the trial tries."""

PROBE_MODULE = "lab.engines.netns_probe"
_PROBE_WITHIN_S = 30.0


def probe_facts() -> Facts:
    """Raises MachineLacks with the remedy when namespaces cannot be had."""
    if platform.system() != "Linux":
        raise MachineLacks(f"hosts out of namespaces need Linux, got {platform.system()}", hint="use --engine compose")
    found = kept("netns-facts", _conditions(), _probe)
    low, high = found["port_range"]
    return Facts(
        engine="netns",
        engine_version=f"Linux {platform.release()}, {'as root' if found['root'] else 'user namespace'}",
        kernel=platform.release(),
        architecture=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes(),
        nofile_hard=found["nofile_hard"],
        pids_max=pids_max(),
        conntrack_max=None,  # nothing tracks connections in the switch's namespace
        port_range=(low, high),
        taken_subnets=(),  # hosts see no network but their own
        file_max=int(Path("/proc/sys/fs/file-max").read_text()),
        missing=tuple(found["missing"]),
    )


def _probe() -> dict[str, Any]:
    """Try what hosts need (`netns_probe`). Raises MachineLacks when hosts cannot be had."""
    probe = subprocess.run(
        python_command(PROBE_MODULE, ()),
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": MODULE_PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PROBE_WITHIN_S,
        check=False,
    )
    if not probe.stdout:
        last = (probe.stderr.splitlines() or ["it said nothing"])[-1]
        raise MachineLacks(f"the trial of this machine ended with code {probe.returncode}: {last}")
    found: dict[str, Any] = json.loads(probe.stdout)
    if "obstacle" in found:
        raise MachineLacks(found["obstacle"], hint=found["hint"])
    return found


def _conditions() -> list[object]:
    """Return whatever the trial's outcome depends on: this boot, this user's rights and limits, modules, settings."""
    files = [Path("/proc/sys", name) for name in SETTINGS]
    files += [Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/cgroup"), Path("/proc/self/attr/current")]
    modules = Path("/proc/modules")
    return [
        [line.split()[0] for line in modules.read_text().splitlines()] if modules.exists() else "built in",
        [
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith(("Uid", "Cap", "Seccomp:"))
        ],
        [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)],
        [_text(file) for file in files],
        [Path(f"/proc/self/ns/{kind}").readlink() for kind in ("user", "mnt", "net")],
        [mark(file) for file in sorted(Path(__file__).parent.glob("*.py"))],
    ]


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:  # this kernel has no such setting, or no security module that answers
        return None


def memory_bytes() -> int:
    """The machine's memory (MemTotal)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise MachineLacks("/proc/meminfo has no MemTotal")


def pids_max() -> int:
    """The tightest of what the kernel and this user's limit allow."""
    limits = [int(Path("/proc/sys/kernel", name).read_text()) for name in ("pid_max", "threads-max")]
    own = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    return min(limits + ([own] if own != resource.RLIM_INFINITY and os.getuid() != 0 else []))
