"""How the tests are shared out among the test runner's processes, and in what order.

`make test` must be short on two processors and on a fresh clone, where the analysis has to be compiled first. So one
process compiles while the others run what needs no analysis, whole labs follow, and the short tests come last, so that
all processes end together. Tests of one expensive fixture stay on one process.

The servers' tests come after all others that need no analysis: they leave this machine ten thousands of closed
connections for a minute (TIME-WAIT), and who lists its sockets then takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WHOLE_LABS = (
    "tests/contract/test_command.py",
    "tests/contract/test_catalogue.py",
    "tests/contract/test_planted_bug.py",
    "tests/test_lessons.py",
)
"""Files whose tests take seconds each."""
ANALYSIS = (
    *WHOLE_LABS,
    "tests/analysis/",
    "tests/inside/test_capture_blocks.py",
    "tests/layers/test_dissect.py",
    "tests/report/test_packet_list.py",
    "tests/report/test_ruler.py",
    "tests/report/test_with_analysis.py",
    "tests/test_analyze_files.py",
    "tests/test_conclusion.py",
    "tests/test_inspect_contents.py",
    "tests/test_inspect_run.py",
)
"""Folders and files that run the compiled analysis, in the test's process or in one that it starts."""
SERVERS = ("tests/contract/test_servers.py",)
ONE_PROCESS_A_PARAMETER = (*SERVERS, "tests/contract/test_command.py")
"""Files with expensive module fixtures for each parameter: a server that lives through its tests, runs of an engine."""


def needs_analysis(node_id: str) -> bool:
    return node_id.startswith(ANALYSIS)


def share(node_id: str) -> str:
    """Name the tests that stay together: those of one parameter in some files, else the test alone."""
    file, _, test = node_id.partition("::")
    if file in ONE_PROCESS_A_PARAMETER and "[" in test:
        return f"{file}{test[test.index('[') :]}"
    return node_id


def order(node_ids: Iterable[str]) -> list[str]:
    """Put one test with the analysis first, then all without (servers last), whole labs, the other ones with it."""
    ids = list(node_ids)
    first = next((one for one in ids if needs_analysis(one) and not one.startswith(WHOLE_LABS)), None)
    return sorted(ids, key=lambda one: _turn(one, first))


def _turn(node_id: str, first: str | None) -> Sequence[int]:
    labs = node_id.startswith(WHOLE_LABS)
    return (node_id != first, needs_analysis(node_id), not labs, node_id.startswith(SERVERS))
