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

GRACE_NS = 30_000_000_000
"""Beyond what a phase asks for: a slow machine is not a failure."""


def phase_asks_ns(scenario: Scenario, index: int) -> int:
    """Return the time that phase `index` asks for: its duration, or its count at the rate it sets; else 0."""
    phase = scenario.fleet.phases[index]
    if isinstance(phase, ConnectPhase):
        rate = scenario.fleet.connect.rate
        return round(scenario.fleet.connections / rate * 1e9) if rate else 0
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
    """Return the time that all phases together ask for."""
    return sum(phase_asks_ns(scenario, index) for index in range(len(scenario.fleet.phases)))


def phase_budget_ns(scenario: Scenario, index: int) -> int:
    """Return the time after which phase `index` counts as stuck: three times what it asks, its timeouts, and a grace
    for each thousand connections."""
    asks = phase_asks_ns(scenario, index)
    connections = scenario.fleet.connections
    return 3 * asks + GRACE_NS + scenario.fleet.connect.timeout + connections * 1_000_000
