"""How long the traffic of a scenario takes by its own words, phase by phase."""

from __future__ import annotations

from lab.scenario.schema import (
    BurstPhase,
    ChurnPhase,
    ClosedLoad,
    ConnectPhase,
    HoldPhase,
    OpenLoad,
    Scenario,
    SlowReadPhase,
)
from lab.scenario.script import Pause

GRACE_NS = 30_000_000_000
"""Beyond what a phase asks for: a slow machine is not a failure."""


def phase_asks_ns(scenario: Scenario, index: int) -> int:
    """Return the time that phase `index` asks for: its duration, or its count at the rate it sets; else 0."""
    fleet = scenario.fleet
    assert fleet is not None
    phase = fleet.phases[index]
    if isinstance(phase, ConnectPhase):
        rate = fleet.connect.rate
        return round(fleet.connections / rate * 1e9) if rate else 0
    if isinstance(phase, HoldPhase | OpenLoad | ChurnPhase | SlowReadPhase):
        return phase.duration
    if isinstance(phase, ClosedLoad):
        if phase.duration is not None:
            return phase.duration
        return (phase.messages or 0) * phase.think
    if isinstance(phase, BurstPhase):
        return phase.messages * phase.gap
    return 0


def asks_ns(scenario: Scenario) -> int:
    """Return the time that all phases together ask for, and the pauses of a script."""
    phases = scenario.fleet.phases if scenario.fleet is not None else []
    pauses = sum(step.duration for step in scenario.script if isinstance(step, Pause))
    return pauses + sum(phase_asks_ns(scenario, index) for index in range(len(phases)))


def phase_budget_ns(scenario: Scenario, index: int) -> int:
    """Return the time after which phase `index` counts as stuck: three times what it asks, its timeouts, and a grace
    for each thousand connections."""
    fleet = scenario.fleet
    assert fleet is not None
    return 3 * phase_asks_ns(scenario, index) + GRACE_NS + fleet.connect.timeout + fleet.connections * 1_000_000
