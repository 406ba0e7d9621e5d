"""Verbs about hosts: labs that stay up (`up`, `exec`, `shell`, `down`), what this machine can run (`doctor`), and what
crashed runs left on it (`clean`)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lab.errors import LabError
from lab.verbs.words import ROOT, EngineName, Json, ScenarioName, Sets, choose_engine, load_named, out, short

LabName = Annotated[str | None, typer.Option("--run", help="Which lab, when several are up.")]


def up(name: ScenarioName, overrides: Sets = None, engine: EngineName = "auto") -> None:
    """Bring a scenario's hosts, captures and server up and leave them running, without its fleet."""
    from lab.lifted import lift

    print(lift(load_named(name, overrides), choose_engine, engine, ROOT()))


def execute(
    host: Annotated[str, typer.Argument(metavar="HOST")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...")],
    run_name: LabName = None,
) -> None:
    """Run a command in a host of a lab that `lab up` left running; exit with its exit code."""
    from lab.lifted import attach

    engine, _ = attach(run_name, ROOT())
    raise typer.Exit(engine.execute(host, command, interactive=sys.stdin.isatty() and sys.stdout.isatty()))


def shell(
    host: Annotated[str, typer.Argument(metavar="HOST")],
    run_name: LabName = None,
) -> None:
    """Open a shell in a host of a lab that `lab up` left running."""
    from lab.lifted import attach

    engine, _ = attach(run_name, ROOT())
    raise typer.Exit(engine.execute(host, ["sh"], interactive=True))


def down(
    run_name: LabName = None,
) -> None:
    """End a lab that `lab up` left running: collect its captures and results, then remove its hosts."""
    from lab.lifted import lower

    folder = lower(run_name, ROOT())
    from lab.results import make_captures

    make_captures(folder)
    print(f"removed; what it left: {short(folder)}")


def doctor(as_json: Json = False) -> None:
    """Tell what this machine can run, and the remedy for what it cannot. Exits 3 if no engine works."""
    from lab.doctor import describe, examine

    findings = examine()
    out(findings) if as_json else print(describe(findings))
    if not any(engine["usable"] for engine in findings["engines"]):
        raise typer.Exit(3)


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    images: Annotated[
        bool, typer.Option("--images", help="Also remove Docker images of earlier code that no container uses.")
    ] = False,
) -> None:
    """Remove what crashed runs left on this machine, by the lab's labels alone; runs in progress are not touched."""
    from lab.doctor import every_engine

    count = 0
    what = "would remove" if dry_run else "removing"
    for engine in every_engine():
        try:
            leftovers = [item for item in engine.leftovers() if not item.alive]
        except LabError as error:
            print(f"{engine.name}: not looked at: {error}", file=sys.stderr)
            continue
        for item in leftovers:
            print(f"{what} {item.kind} {item.name} of run {item.run}")
        if leftovers and not dry_run:
            engine.remove(leftovers)
        count += len(leftovers)
    if images:
        from lab.engines.old_images import clean_images

        count += clean_images(lambda image: print(f"{what} image {image.name}"), dry_run=dry_run)
    print(f"{count} left over" if dry_run else f"{count} removed")
