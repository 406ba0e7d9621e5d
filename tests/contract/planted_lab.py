"""The command `lab`, with `planted_server.py` in place of each server it plans."""

from __future__ import annotations

import dataclasses
from typing import Any

import lab.session
from lab.__main__ import main
from lab.topology import Topology
from lab.topology.plan import plan


def planted(*arguments: Any, **more: Any) -> Topology:
    topology = plan(*arguments, **more)
    programs = tuple(
        dataclasses.replace(program, module="tests.contract.planted_server") if program.role == "server" else program
        for program in topology.programs
    )
    return dataclasses.replace(topology, programs=programs)


lab.session.plan = planted  # type: ignore[attr-defined]
main()
