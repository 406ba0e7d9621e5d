"""A process that owns a run, to be killed: `engine_owner.py ENGINE FOLDER [PHASE]`; prints each phase it reaches.

It goes on to the phase named and then waits to be killed (or for its standard input to end).
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine_topologies import build, diagnose, engine_of

PHASES = ("facts", "up", "start", "collect", "leave")


def main() -> None:
    name, folder, last = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    engine = engine_of(name)
    facts = engine.facts() if name != "netns" or last == "facts" else None  # netns hosts see no other subnet
    print("facts", flush=True)
    if last != "facts":
        topology = build(facts, [diagnose("server", "server", "serve", "--port", "7000")])
        print("begin up", flush=True)
        engine.up(topology, run_id=folder.name, run_folder=folder, say=lambda _line: None)
        print("up", flush=True)
        if last != "up":
            engine.start(topology.of_role("server"))
            print("start", flush=True)
        if last == "collect":
            print("collect", flush=True)
            while True:
                engine.collect("server", folder / "collected")
        if last == "leave":
            engine.leave()
            print("leave", flush=True)
            return
    sys.stdin.read()


if __name__ == "__main__":
    main()
