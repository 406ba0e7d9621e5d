"""Verbs about scenarios, which run nothing: `list`, `show`, `check`, `plan`, `schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.errors import Problem, ScenarioInvalid
from lab.verbs.words import SCENARIOS, EngineName, Json, ScenarioName, Sets, choose_engine, load_named, out


def list_scenarios(as_json: Json = False) -> None:
    """List the scenarios of the catalogue and the I/O models of the servers."""
    from lab.inside.servers import MODELS
    from lab.scenario.schema import TOPICS

    loaded = [load_named(str(path)) for path in sorted(SCENARIOS.glob("*.yaml"))]
    if as_json:
        out(
            {
                "scenarios": [{"name": s.name, "title": s.scenario.title, "topic": s.scenario.topic} for s in loaded],
                "models": [{"name": m.name, "line": m.line, "requires": list(m.requires)} for m in MODELS.values()],
            }
        )
        return
    width = max(len(name) for name in [*MODELS, *(s.name for s in loaded)])
    print("Scenarios (make scenario NAME=...)")
    for topic, heading in (*TOPICS.items(), (None, "More")):
        items = [item for item in loaded if item.scenario.topic == topic]
        if items:
            print(f"\n {heading}")
        for item in items:
            print(f"  {item.name:<{width}}  {item.scenario.title}")
    print("\nI/O models (server.model)\n")
    for model in MODELS.values():
        needs = f"  [needs {', '.join(model.requires)}]" if model.requires else ""
        print(f"  {model.name:<{width}}  {model.line}{needs}")


def show(
    name: Annotated[str, typer.Argument(metavar="[NAME]")] = "",
    overrides: Sets = None,
    measures: Annotated[bool, typer.Option("--measures", help="List what an expectation may name.")] = False,
    as_json: Json = False,
) -> None:
    """Show a scenario: its lesson, hosts, phases and expectations."""
    from lab.describe import describe_measures, describe_scenario

    if measures or not name:
        print(describe_measures())
        return
    loaded = load_named(name, overrides)
    out(loaded.data) if as_json else print(describe_scenario(loaded))


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="YAML files or names of the catalogue.")],
    overrides: Sets = None,
) -> None:
    """Check scenarios: every problem at once, each with file, line, key and what is allowed."""
    problems: list[Problem] = []
    for file in files:
        try:
            load_named(file, overrides)
        except ScenarioInvalid as error:
            problems.extend(error.problems)
    if problems:
        raise ScenarioInvalid(*problems)
    print(f"{len(files)} scenario{'s' if len(files) > 1 else ''} valid")


def plan(name: ScenarioName, overrides: Sets = None, engine: EngineName = "auto", as_json: Json = False) -> None:
    """Show what a run would build on this machine: hosts, addresses, workers, and the arithmetic behind them."""
    from lab.describe import describe_plan
    from lab.topology.plan import plan as plan_topology

    loaded = load_named(name, overrides)
    facts = choose_engine(engine).facts()
    topology = plan_topology(loaded, facts)
    out(topology.to_json()) if as_json else print(describe_plan(loaded, topology, facts))


def schema() -> None:
    """Print the JSON Schema of scenarios."""
    from lab.scenario.json_schema import json_schema_text

    print(json_schema_text(), end="")
