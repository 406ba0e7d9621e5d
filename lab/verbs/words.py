"""What several verbs share: their common options, and how a scenario or an engine is named on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.errors import Problem, ScenarioInvalid

if TYPE_CHECKING:
    from lab.engines import Engine
    from lab.scenario.load import Loaded

PROJECT = Path(__file__).resolve().parents[2]
SCENARIOS = PROJECT / "scenarios"

Json = Annotated[bool, typer.Option("--json", help="Print data as JSON on standard output.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a scenario key; may be repeated.")
]
EngineName = Annotated[str, typer.Option("--engine", help="auto, compose or netns.", metavar="ENGINE")]
ScenarioName = Annotated[str, typer.Argument(metavar="NAME", help="A scenario of the catalogue, or a YAML file.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A scenario's name (its latest run), a run's id or folder.")
]
ROOT = Path.cwd
"""Below this folder stand the runs."""


def out(data: object) -> None:
    """Print JSON on standard output."""
    print(json.dumps(data, indent=1, ensure_ascii=False))


def load_named(name: str, overrides: list[str] | None = None) -> Loaded:
    """Load a scenario by its name in the catalogue or by file. Raises ScenarioInvalid."""
    from lab.scenario.load import load

    file = Path(name)
    if file.suffix not in (".yaml", ".yml"):
        file = SCENARIOS / f"{name}.yaml"
        if not file.exists():
            import difflib

            names = sorted(path.stem for path in SCENARIOS.glob("*.yaml"))
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else "`lab list` shows them; or give a YAML file"
            what = f"no such scenario, got {name!r}; allowed: {', '.join(names)}"
            raise ScenarioInvalid(Problem(file="scenarios", line=1, key="", what=what, hint=hint))
        file = short(file)
    return load(file, overrides or ())


def short(path: Path) -> Path:
    """Return the path relative to the current folder where it is below it: what a user would type."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def choose_engine(name: str, progress: Any = None) -> Engine:
    """Return the engine asked for; with `auto`, the first that works here, and say which and why."""
    from lab.doctor import choose

    engine, why = choose(name)
    if why:
        progress.say(why) if progress is not None else print(why, file=sys.stderr)
    return engine
