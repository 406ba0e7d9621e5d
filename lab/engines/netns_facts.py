"""What this machine allows the netns engine: tried in a child process, since trying means entering namespaces."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
from pathlib import Path

from lab.engines.netns_programs import MODULE_PATH, python_command
from lab.errors import MachineLacks
from lab.topology import Facts

PROBE_MODULE = "lab.engines.netns_probe"
_PROBE_WITHIN_S = 30.0


def probe_facts() -> Facts:
    """Raises MachineLacks with the remedy when namespaces cannot be had."""
    if platform.system() != "Linux":
        raise MachineLacks(f"hosts out of namespaces need Linux, got {platform.system()}", hint="use --engine compose")
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
    found = json.loads(probe.stdout)
    if "obstacle" in found:
        raise MachineLacks(found["obstacle"], hint=found["hint"])
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
