"""The `lab` command: its verbs, and errors as one clear message and an exit code.

Data goes to standard output, talk and progress to standard error. Exit codes: 0 pass, 1 fail, 2 scenario or usage
invalid, 3 this machine cannot run it, 4 unknown, 5 teardown incomplete, 130 interrupted (after cleaning up). Heavy
libraries are imported by the verbs that need them.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from lab import __version__
from lab.errors import EXIT_INTERRUPTED, LabError, ScenarioInvalid
from lab.verbs import captures, labs, runs, scenarios

app = typer.Typer(
    name="lab",
    help="A multi-host network lab: real hosts, real sockets, lossless captures, a verdict with evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

app.command("list")(scenarios.list_scenarios)
app.command()(scenarios.show)
app.command()(scenarios.check)
app.command()(scenarios.plan)
app.command()(runs.run)
app.command()(captures.inspect)
app.command()(runs.report)
app.command()(runs.compare)
app.command("runs")(runs.list_runs)
app.command()(captures.analyze)
app.command()(labs.up)
app.command("exec", context_settings={"ignore_unknown_options": True})(labs.execute)
app.command()(labs.shell)
app.command()(labs.down)
app.command()(labs.doctor)
app.command()(labs.clean)
app.command()(scenarios.schema)


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
