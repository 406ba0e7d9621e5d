"""The libraries that programs of a run need: on this engine they must be in the lab's own environment."""

from __future__ import annotations

import importlib.util
from importlib import metadata

from lab.errors import MachineLacks
from lab.inside.servers import MODELS
from lab.topology import Topology

SERVERS_PACKAGE = "lab.inside.servers"


def library_versions(topology: Topology) -> dict[str, str]:
    """Return the version of each library that the topology's servers need. Raises MachineLacks naming those absent."""
    modules = {program.module for program in topology.programs}
    models = [model for model in MODELS.values() if f"{SERVERS_PACKAGE}.{model.module}" in modules]
    needed = sorted({name for model in models for name in model.requires if not name.startswith("kernel:")})
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        names = ", ".join(model.name for model in models if set(model.requires) & set(absent))
        raise MachineLacks(
            f"I/O model {names}: needs {', '.join(absent)} in the lab's own environment on engine netns",
            hint="make servers",
        )
    return {name: metadata.version(name) for name in needed}
