"""Verbs about runs: `run` makes one, `report`, `compare` and `runs` look at what is there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lab import BEGAN, store
from lab.errors import EXIT_MACHINE_LACKS, VERDICT_EXIT_CODES
from lab.verbs.words import ROOT, EngineName, Json, RunName, ScenarioName, Sets, choose_engine, load_named, out, short

if TYPE_CHECKING:
    from lab.conclusion import Conclusion
    from lab.progress import Progress
    from lab.scenario.load import Loaded


def run(
    name: ScenarioName,
    overrides: Sets = None,
    engine: EngineName = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Run a scenario; print its summary, and exit by its verdict."""
    from lab.conclusion import Conclusion
    from lab.progress import Progress

    # First of all: it loads for more than a second, on a processor that nobody needs yet.
    with Progress(quiet=quiet) as progress, Conclusion(progress) as conclusion:
        from lab.series import is_series
        from lab.session import Session

        loaded = load_named(name, overrides)
        chosen = choose_engine(engine, progress)
        width, color = terminal()
        if is_series(loaded):
            verdict, summary = _run_series(loaded, chosen.name, progress, conclusion, width=width, color=color)
        else:
            this = store.create(loaded.name, ROOT())
            progress.say(f"run {short(this.folder)}")
            session = Session(loaded, chosen, this, progress)
            session.timing_s["start"] = round(time.monotonic() - BEGAN, 3)
            session.execute(conclusion)
            progress.stage("analysis")
            verdict, summary = conclusion.conclude(
                short(this.folder), session.timing_s, began=BEGAN, width=width, color=color
            )
    finish(verdict, summary, as_json=as_json)


def _run_series(
    loaded: Loaded, engine: str, progress: Progress, conclusion: Conclusion, *, width: int, color: bool
) -> tuple[dict[str, Any], str]:
    """Run every cell of a series; return its verdict, and its summary for the terminal."""
    from lab.doctor import engine_named
    from lab.series import run_series
    from lab.verdict.compare import COLUMNS

    this = store.create(loaded.name, ROOT(), series=True)
    progress.say(f"series {short(this.folder)}")
    timing_s = run_series(
        loaded,
        lambda: engine_named(engine),
        this,
        progress,
        lambda run, session: conclusion.conclude(run.folder, session.timing_s, began=session.began)[0],
        COLUMNS,
        conclusion,
    )
    from lab.report.terminal import rendered
    from lab.results import conclude_series

    return conclude_series(this.folder, timing_s), rendered(short(this.folder), width=width, color=color)


def terminal() -> tuple[int, bool]:
    """Return how many columns the terminal on standard output has, and whether it shows colours."""
    from rich.console import Console

    console = Console()
    return (console.width if console.is_terminal else 100), console.is_terminal and console.color_system is not None


def finish(verdict: dict[str, Any], summary: str, *, as_json: bool) -> NoReturn:
    """Print a finished run and exit by its verdict."""
    out(verdict) if as_json else print(summary, end="")
    raise typer.Exit(EXIT_MACHINE_LACKS if verdict.get("machine_lacks") else VERDICT_EXIT_CODES[verdict["verdict"]])


def report(
    run_name: RunName, again: Annotated[bool, typer.Option("--again", help="Analyse the captures again.")] = False
) -> None:
    """Print the summary of a run; with `--again`, analyse and judge it anew from its captures."""
    from lab.progress import Progress
    from lab.report.terminal import rendered
    from lab.results import conclude, conclude_series

    this = store.find(run_name, ROOT())
    there = (this.folder / "verdict.json").exists()  # an interrupted series has none, and its runs can be judged
    if again or not there:
        timing_s = this.read_json("verdict.json")["timing_s"] if there else {}
        if store.is_series(this):
            conclude_series(this.folder, timing_s)
        else:
            with Progress() as progress:
                conclude(this.folder, timing_s, progress.say)
    width, color = terminal()
    print(rendered(short(this.folder), width=width, color=color), end="")


def compare(
    run_names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, or series, by name, id or folder.")],
    columns: Annotated[
        list[str] | None, typer.Option("--column", metavar="MEASURE", help="Compare by this measure; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs (equal ones are repeats) or the cells of a series: medians with intervals, and what differs."""
    from lab.compare import compare as compare_runs
    from lab.compare import described

    comparison = compare_runs(run_names, ROOT(), columns or ())
    if as_json:
        out(comparison)
    else:
        print(described(comparison))


def list_runs(as_json: Json = False) -> None:
    """List the runs below the current folder, oldest first."""
    rows = []
    for this in store.every(ROOT()):
        path = this.folder / "verdict.json"
        verdict = this.read_json("verdict.json") if path.exists() else {}
        rows.append(
            {
                "run": this.id,
                "scenario": this.scenario,
                "verdict": verdict.get("verdict"),
                "engine": verdict.get("engine"),
            }
        )
    if as_json:
        out(rows)
    else:
        for row in rows:
            print(f"{row['run']}  {row['verdict'] or 'unfinished':<10}  {row['engine'] or '-':<8}  {row['scenario']}")
