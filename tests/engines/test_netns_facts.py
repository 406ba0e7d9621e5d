"""What the engine finds out about the machine, and what it says where it cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.engines import netns_libraries
from lab.engines.netns import NetnsEngine
from lab.engines.netns_probe import PROBES
from lab.errors import MachineLacks
from lab.topology import Program, Topology

PROJECT = Path(__file__).parents[2]
WITHIN_S = 30.0
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all", "--no-new-privs")
ASK = (
    "from lab.engines.netns import NetnsEngine\n"
    "from lab.errors import MachineLacks\n"
    "try: NetnsEngine().facts()\n"
    "except MachineLacks as lack: print(lack); print(lack.hint)"
)


def test_facts_agree_with_what_the_kernel_tells() -> None:
    try:
        facts = NetnsEngine().facts()
    except MachineLacks as lack:
        pytest.skip(f"{lack}; hint: {lack.hint}")
    uname = os.uname()
    assert (facts.engine, facts.kernel, facts.architecture) == ("netns", uname.release, uname.machine)
    assert facts.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 <= facts.cpus <= (os.cpu_count() or 1)
    assert facts.pids_max <= int(Path("/proc/sys/kernel/pid_max").read_text())
    assert facts.taken_subnets == ()
    assert facts.conntrack_max is None
    assert 1024 <= facts.port_range[0] < facts.port_range[1] <= 65535
    assert set(facts.missing) <= set(PROBES)


@pytest.mark.parametrize(
    ("forbid", "obstacle", "remedy"),
    [
        (
            "max_user_namespaces",
            "no more user namespaces are allowed (user.max_user_namespaces = 0)",
            "max_user_namesp",
        ),
        (
            "max_net_namespaces",
            "no net namespaces are allowed (user.max_net_namespaces = 0)",
            "max_net_namespaces=15000",
        ),
        (
            "max_pid_namespaces",
            "no pid namespaces are allowed (user.max_pid_namespaces = 0)",
            "max_pid_namespaces=15000",
        ),
    ],
)
def test_a_machine_that_forbids_namespaces_is_told_by_the_name_of_the_setting(
    forbid: str, obstacle: str, remedy: str
) -> None:
    """These limits hold in each user namespace apart: set in one of our own they do not touch the machine."""
    code = (
        "from lab.engines import namespaces as ns; import os\n"
        "from pathlib import Path\n"
        "from lab.engines.netns_obstacles import Obstacle, enter_namespaces\n"
        "uid, gid = os.getuid(), os.getgid()\n"
        "try: ns.unshare(ns.CLONE_NEWUSER); ns.map_to_root(uid, gid)\n"
        "except OSError as error: print('refused', error); raise SystemExit\n"
        f"Path('/proc/sys/user/{forbid}').write_text('0')\n"
        f"os.execvp('setpriv', {[*WITHOUT_RIGHTS, sys.executable, '-c', ASK]!r})"
    )
    done = run(sys.executable, "-c", code)
    if done.startswith("refused"):
        pytest.skip("user namespaces cannot be made here")
    assert obstacle in done.splitlines()[0]
    assert remedy in done.splitlines()[1]


def test_root_without_its_capabilities_is_told_which_it_needs() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can lose root's capabilities")
    done = run("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", ASK)
    assert "root lacks the capabilities" in done
    assert "SYS_ADMIN" in done


def test_a_library_that_a_model_needs_and_nobody_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Program(host="server", role="server", module="lab.inside.servers.uvloop_server", arguments=())
    topology = Topology(scenario="uvloop", networks=(), hosts=(), programs=(server,))
    monkeypatch.setattr(netns_libraries.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MachineLacks, match="I/O model uvloop: needs uvloop") as raised:
        NetnsEngine().prepare(topology, print)
    assert raised.value.hint == "make servers"


def run(*command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
