"""Labs that stay: `lab up` brings one up and leaves it, `exec` and `shell` enter it, `down` takes its results and
removes it.

A lab that is up is a run like any other, with one file more in its folder, `up.json`, until `down`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab import store
from lab.engines import Engine
from lab.errors import Problem, ScenarioInvalid
from lab.progress import Progress
from lab.scenario.load import Loaded, load
from lab.session import Session
from lab.topology import Topology

UP = "up.json"


def lift(loaded: Loaded, choose: Callable[[str, Progress], Engine], engine_name: str, root: Path) -> str:
    """Bring hosts, captures and server up and leave them; return the text that says how to go on."""
    with Progress() as progress:
        engine = choose(engine_name, progress)
        run = store.create(loaded.name, root)
        session = Session(loaded, engine, run, progress)
        try:
            session.bring_up(with_fleet=False)
            engine.leave()
            run.write_json(UP, {"engine": engine.name, "scenario_file": str(loaded.file)})
        except BaseException:
            session.bring_down()
            raise
    assert session.topology is not None
    hosts = "\n".join(f"  {h.name:<12} {', '.join(i.address for i in h.interfaces)}" for h in session.topology.hosts)
    first = session.topology.hosts[-1].name
    server = loaded.scenario.server
    serves = f"The {server.model} server listens on {server.host}:{server.port}; c" if server is not None else "C"
    return (
        f"{loaded.name} is up ({engine.name}, run {run.id})\n{hosts}\n"
        f"{serves}aptures are recording.\n"
        f"Go on with `lab exec {first} -- COMMAND`, `lab shell {first}`; end with `lab down`."
    )


def attach(run_name: str | None, root: Path) -> tuple[Engine, store.Run]:
    """Find the lab that is up and take it over. Raises ScenarioInvalid when none is, or several are."""
    from lab.doctor import engine_named

    runs = [run for run in store.every(root) if (run.folder / UP).exists() and run_name in (None, run.id, run.scenario)]
    if len(runs) != 1:
        names = ", ".join(f"{run.scenario} ({run.id})" for run in runs) or "none"
        what = f"one lab that is up is wanted, got {len(runs)}: {names}"
        hint = "choose with --run ID" if runs else "bring one up with `lab up NAME`"
        raise ScenarioInvalid(Problem(file=str(root / store.RUNS), line=1, key="", what=what, hint=hint))
    engine = engine_named(runs[0].read_json(UP)["engine"])
    engine.attach(runs[0].folder)
    return engine, runs[0]


def lower(run_name: str | None, root: Path) -> Path:
    """End a lab that is up: stop its programs, collect, remove; return its run folder."""
    engine, run = attach(run_name, root)
    loaded = load(run.folder / "scenario.yaml")
    with Progress() as progress:
        session = Session(loaded, engine, run, progress)
        session.topology = Topology.from_json(run.read_json("topology.json"))
        try:
            session.stop_and_collect()
        finally:
            session.bring_down()
            (run.folder / UP).unlink(missing_ok=True)
    return run.folder
