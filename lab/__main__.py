"""The `lab` command: thin, one function a verb. Data goes to standard output, talk and progress to standard error.

Exit codes: 0 pass, 1 fail, 2 scenario or usage invalid, 3 this machine cannot run it, 4 unknown, 5 teardown incomplete,
130 interrupted (after cleaning up). Heavy libraries are imported by the verbs that need them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from lab import __version__, look_verbs, store
from lab.errors import EXIT_INTERRUPTED, EXIT_MACHINE_LACKS, LabError, Problem, ScenarioInvalid

if TYPE_CHECKING:
    from lab.engines import Engine
    from lab.scenario.load import Loaded

PROJECT = Path(__file__).resolve().parent.parent
SCENARIOS = PROJECT / "scenarios"

app = typer.Typer(
    name="lab",
    help="A multi-host network lab: real hosts, real sockets, lossless captures, a verdict with evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print data as JSON on standard output.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a scenario key; may be repeated.")
]
EngineName = Annotated[str, typer.Option("--engine", help="auto, compose or netns.", metavar="ENGINE")]
ScenarioName = Annotated[str, typer.Argument(metavar="NAME", help="A scenario of the catalogue, or a YAML file.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A scenario's name (its latest run), a run's id or folder.")
]
Root = Path.cwd


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
        file = _short(file)
    return load(file, overrides or ())


def _short(path: Path) -> Path:
    """Return the path relative to the current folder where it is below it: what a user would type."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


@app.command("list")
def list_scenarios(as_json: Json = False) -> None:
    """List the scenarios of the catalogue and the I/O models of the servers."""
    from lab.inside.servers import MODELS

    loaded = [load_named(str(path)) for path in sorted(SCENARIOS.glob("*.yaml"))]
    if as_json:
        out(
            {
                "scenarios": [{"name": s.name, "title": s.scenario.title} for s in loaded],
                "models": [{"name": m.name, "line": m.line, "requires": list(m.requires)} for m in MODELS.values()],
            }
        )
        return
    width = max(len(name) for name in [*MODELS, *(s.name for s in loaded)])
    print("Scenarios (make scenario NAME=...)")
    for item in loaded:
        print(f"  {item.name:<{width}}  {item.scenario.title}")
    print("\nI/O models (server.model)")
    for model in MODELS.values():
        needs = f"  [needs {', '.join(model.requires)}]" if model.requires else ""
        print(f"  {model.name:<{width}}  {model.line}{needs}")


@app.command()
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


@app.command()
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


@app.command()
def plan(name: ScenarioName, overrides: Sets = None, engine: EngineName = "auto", as_json: Json = False) -> None:
    """Show what a run would build on this machine: hosts, addresses, workers, and the arithmetic behind them."""
    from lab.describe import describe_plan
    from lab.topology.plan import plan as plan_topology

    loaded = load_named(name, overrides)
    facts = choose_engine(engine).facts()
    topology = plan_topology(loaded, facts)
    out(topology.to_json()) if as_json else print(describe_plan(loaded, topology, facts))


@app.command()
def run(
    name: ScenarioName,
    overrides: Sets = None,
    engine: EngineName = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Run a scenario; print its summary, and exit by its verdict."""
    from lab.progress import Progress
    from lab.series import is_series
    from lab.session import Session

    loaded = load_named(name, overrides)
    if is_series(loaded):
        _run_series(loaded, engine, quiet=quiet, as_json=as_json)
    with Progress(quiet=quiet) as progress:
        chosen = choose_engine(engine, progress)
        this = store.create(loaded.name, Root())
        progress.say(f"run {_short(this.folder)}")
        session = Session(loaded, chosen, this, progress)
        session.execute(when_traffic_ends=_load_analysis)
        progress.stage("analysis")
        verdict = conclude(this, session.timing_s, progress)
    finish(this, verdict, as_json=as_json)


def _run_series(loaded: Loaded, engine: str, *, quiet: bool, as_json: bool) -> NoReturn:
    """Run every cell of a series; print the series' summary, and exit by its verdict."""
    from lab.doctor import engine_named
    from lab.progress import Progress
    from lab.results import conclude_series
    from lab.series import run_series
    from lab.verdict.compare import COLUMNS

    with Progress(quiet=quiet) as progress:
        chosen = choose_engine(engine, progress).name
        this = store.create(loaded.name, Root(), series=True)
        progress.say(f"series {_short(this.folder)}")
        timing_s = run_series(loaded, lambda: engine_named(chosen), this, progress, conclude, COLUMNS)
        verdict = conclude_series(this.folder, timing_s)
    finish(this, verdict, as_json=as_json)


def _load_analysis() -> None:
    """Load the analysis (a second of imports) beside what the session still waits for."""

    def load() -> None:
        from lab.results import warm_up

        warm_up()

    threading.Thread(target=load, name="loading the analysis", daemon=True).start()


def conclude(this: store.Run, timing_s: dict[str, float], progress: Any) -> dict[str, Any]:
    """Analyse and judge a run."""
    from lab.results import conclude as conclude_run

    return conclude_run(this.folder, timing_s, progress.say)


def finish(this: store.Run, verdict: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Print a finished run and exit by its verdict."""
    from lab.verdict import EXIT_CODES

    if as_json:
        out(verdict)
    else:
        show_summary(this)
    raise typer.Exit(EXIT_MACHINE_LACKS if verdict.get("machine_lacks") else EXIT_CODES[verdict["verdict"]])


def show_summary(this: store.Run) -> None:
    """Print the summary of a run in the terminal's width."""
    from rich.console import Console

    from lab.report.comparison import TABLE_WIDTH, series_summary
    from lab.report.text import summary

    console = Console(highlight=False)
    width = max(80, min(console.width, 120)) if console.is_terminal else 100
    if store.is_series(this):
        Console(highlight=False, width=max(TABLE_WIDTH, console.width)).print(series_summary(_short(this.folder)))
        return
    Console(highlight=False, width=width).print(summary(_short(this.folder), width=width))


@app.command()
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

    comparison = compare_runs(run_names, Root(), columns or ())
    if as_json:
        out(comparison)
    else:
        print(described(comparison))


@app.command()
def report(
    run_name: RunName, again: Annotated[bool, typer.Option("--again", help="Analyse the captures again.")] = False
) -> None:
    """Print the summary of a run; with `--again`, analyse and judge it anew from its captures."""
    from lab.progress import Progress

    this = store.find(run_name, Root())
    if store.is_series(this):
        from lab.results import conclude_series

        there = (this.folder / "verdict.json").exists()  # an interrupted series has none, and its runs can be judged
        if again or not there:
            conclude_series(this.folder, this.read_json("verdict.json")["timing_s"] if there else {})
        show_summary(this)
        return
    if again or not (this.folder / "verdict.json").exists():
        old = this.read_json("verdict.json")["timing_s"] if (this.folder / "verdict.json").exists() else {}
        with Progress() as progress:
            conclude(this, old, progress)
    show_summary(this)


app.command()(look_verbs.inspect)
app.command()(look_verbs.analyze)


@app.command("runs")
def list_runs(as_json: Json = False) -> None:
    """List the runs below the current folder, oldest first."""
    rows = []
    for this in store.every(Root()):
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


@app.command()
def up(name: ScenarioName, overrides: Sets = None, engine: EngineName = "auto") -> None:
    """Bring a scenario's hosts, captures and server up and leave them running, without its fleet."""
    from lab.lifted import lift

    print(lift(load_named(name, overrides), choose_engine, engine, Root()))


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    host: Annotated[str, typer.Argument(metavar="HOST")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...")],
    run_name: Annotated[str | None, typer.Option("--run", help="Which lab, when several are up.")] = None,
) -> None:
    """Run a command in a host of a lab that `lab up` left running; exit with its exit code."""
    from lab.lifted import attach

    engine, _ = attach(run_name, Root())
    raise typer.Exit(engine.execute(host, command, interactive=sys.stdin.isatty() and sys.stdout.isatty()))


@app.command()
def shell(
    host: Annotated[str, typer.Argument(metavar="HOST")],
    run_name: Annotated[str | None, typer.Option("--run", help="Which lab, when several are up.")] = None,
) -> None:
    """Open a shell in a host of a lab that `lab up` left running."""
    from lab.lifted import attach

    engine, _ = attach(run_name, Root())
    raise typer.Exit(engine.execute(host, ["sh"], interactive=True))


@app.command()
def down(
    run_name: Annotated[str | None, typer.Option("--run", help="Which lab, when several are up.")] = None,
) -> None:
    """End a lab that `lab up` left running: collect its captures and results, then remove its hosts."""
    from lab.lifted import lower

    folder = lower(run_name, Root())
    from lab.results import make_captures

    make_captures(folder)
    print(f"removed; what it left: {_short(folder)}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell what this machine can run, and the remedy for what it cannot. Exits 3 if no engine works."""
    from lab.doctor import describe, examine

    findings = examine()
    out(findings) if as_json else print(describe(findings))
    if not any(engine["usable"] for engine in findings["engines"]):
        raise typer.Exit(3)


@app.command()
def clean(dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False) -> None:
    """Remove what crashed runs left on this machine, by the lab's labels alone; runs in progress are not touched."""
    from lab.doctor import every_engine

    count = 0
    for engine in every_engine():
        try:
            leftovers = [item for item in engine.leftovers() if not item.alive]
        except LabError as error:
            print(f"{engine.name}: not looked at: {error}", file=sys.stderr)
            continue
        for item in leftovers:
            print(f"{'would remove' if dry_run else 'removing'} {item.kind} {item.name} of run {item.run}")
        if leftovers and not dry_run:
            engine.remove(leftovers)
        count += len(leftovers)
    print(f"{count} left over" if dry_run else f"{count} removed")


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenarios."""
    from lab.scenario.json_schema import json_schema_text

    print(json_schema_text(), end="")


def choose_engine(name: str, progress: Any = None) -> Engine:
    """Return the engine asked for; with `auto`, the first that works here, and say which and why."""
    from lab.doctor import choose

    engine, why = choose(name)
    if why:
        progress.say(why) if progress is not None else print(why, file=sys.stderr)
    return engine


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"wirelab {__version__}")
        raise typer.Exit()


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command; turn errors into one clear message and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except LabError as error:
        print(f"{'' if isinstance(error, ScenarioInvalid) else 'error: '}{error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            print("interrupted; what the run had created is removed", file=sys.stderr)
        raise
    except BrokenPipeError:
        # Whoever read our output has gone (`lab list | head`): not an error of ours, and nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


if __name__ == "__main__":
    main()
