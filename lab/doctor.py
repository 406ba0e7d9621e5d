"""What this machine can run, engine by engine, with the remedy for what it cannot; and the choice between engines.

An engine is tried, not guessed at: `Engine.facts` probes it, and what it raises is the finding.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import sys
from typing import Any

from lab import units
from lab.engines import Engine
from lab.errors import MachineLacks, Problem, ScenarioInvalid
from lab.inside.servers import MODELS
from lab.topology.facts import LACKING

ENGINES = ("compose", "netns")


def engine_named(name: str) -> Engine:
    """Return a new engine object of that name. Raises ScenarioInvalid for a name that is none."""
    if name == "compose":
        from lab.engines.compose import ComposeEngine

        return ComposeEngine()
    if name == "netns":
        from lab.engines.netns import NetnsEngine

        return NetnsEngine()
    what = f"no such engine, got {name!r}; allowed: auto, {', '.join(ENGINES)}"
    raise ScenarioInvalid(Problem(file="command line", line=1, key="--engine", what=what))


def every_engine() -> list[Engine]:
    """Return one object of each engine."""
    return [engine_named(name) for name in ENGINES]


def choose(name: str) -> tuple[Engine, str | None]:
    """Return the engine of that name; for `auto` the first that works here, with a line that says which and why.

    Raises MachineLacks when none works, with every reason and remedy.
    """
    if name != "auto":
        return engine_named(name), None
    reasons: list[MachineLacks] = []
    for candidate in ENGINES:
        engine = engine_named(candidate)
        try:
            facts = engine.facts()
        except MachineLacks as error:
            reasons.append(error)
            continue
        why = f"engine {engine.name}: {facts.engine_version}"
        if reasons:
            why += f" (not {ENGINES[0]}: {reasons[0]})"
        return engine, why
    text = "no engine works here:\n" + "\n".join(f"  {n}: {e}" for n, e in zip(ENGINES, reasons, strict=True))
    hint = "\n      ".join(f"{n}: {e.hint}" for n, e in zip(ENGINES, reasons, strict=True) if e.hint)
    raise MachineLacks(text, hint=hint or None)


def examine() -> dict[str, Any]:
    """Probe every engine and the optional tools; return plain data."""
    engines: list[dict[str, Any]] = []
    for engine in every_engine():
        try:
            facts = engine.facts()
        except MachineLacks as error:
            engines.append({"name": engine.name, "usable": False, "obstacle": str(error), "remedy": error.hint})
        else:
            engines.append({"name": engine.name, "usable": True, "facts": dataclasses.asdict(facts)})
    return {
        "python": sys.version.split()[0],
        "engines": engines,
        "tools": {tool: shutil.which(tool) for tool in ("tshark", "wireshark", "capinfos")},
        "models": {model.name: _missing(model.requires) for model in MODELS.values()},
    }


def _missing(requires: tuple[str, ...]) -> list[str]:
    """Return which Python packages a model needs and this environment lacks; kernel features are the engines' facts."""
    packages = [name for name in requires if not name.startswith("kernel:")]
    return [name for name in packages if importlib.util.find_spec(name) is None]


def describe(findings: dict[str, Any]) -> str:
    """Return the findings as text."""
    lines = [f"Python {findings['python']}", ""]
    for engine in findings["engines"]:
        if not engine["usable"]:
            lines.append(f"engine {engine['name']}: cannot work here: {engine['obstacle']}")
            lines += [f"  remedy: {engine['remedy']}"] if engine["remedy"] else []
            continue
        facts = engine["facts"]
        low, high = facts["port_range"]
        tracking = facts["conntrack_max"]
        lines += [
            f"engine {engine['name']}: works ({facts['engine_version']}, kernel {facts['kernel']}, "
            f"{facts['architecture']})",
            f"  {facts['cpus']} CPUs, {units.show_bytes(facts['memory_bytes'])} of memory",
            f"  {facts['nofile_hard']:,} descriptors a process, {facts['pids_max']:,} processes and threads",
            f"  {high - low + 1:,} ephemeral ports a host, {low}-{high}",
            f"  connection tracking: {f'{tracking:,} connections' if tracking else 'none on the path'}",
        ]
        for name in facts["missing"]:
            meaning, remedy = LACKING[name]
            lines += [f"  lacks {name}: {meaning}", f"    remedy: {remedy}"]
    lines.append("")
    for tool, path in findings["tools"].items():
        lines.append(f"{tool}: {path or 'not installed (optional: for looking at captures beside the lab)'}")
    absent = {name: missing for name, missing in findings["models"].items() if missing}
    for name, missing in absent.items():
        lines.append(f"I/O model {name}: needs {', '.join(missing)} for engine netns (`make servers` installs it)")
    return "\n".join(lines)
