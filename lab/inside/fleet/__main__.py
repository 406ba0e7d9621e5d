"""The command: `python -m lab.inside.fleet --plan '<JSON>'`, or `--plan @FILE`.

Exit codes: 0 the plan was gone through (errors met on the way are in the result), 1 a worker broke, 2 the plan is
wrong, 3 this machine lacks what it takes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.inside import lifecycle

from .coordinator import Coordinator
from .plan import PlanInvalid, read_plan


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.inside.fleet", description="The client fleet of one host.")
    parser.add_argument("--plan", required=True, metavar="JSON|@FILE", help="what to do: see lab/inside/fleet/plan.py")
    given = parser.parse_args(arguments).plan
    try:
        plan = read_plan(Path(given[1:]).read_text() if given.startswith("@") else given)
    except (PlanInvalid, OSError) as error:
        lifecycle.say(str(error))
        return 2
    limit = lifecycle.raise_descriptor_limit()
    if plan.descriptors_needed() > limit:
        lifecycle.say(
            f"workers: a worker needs {plan.descriptors_needed()} descriptors, got {limit} (RLIMIT_NOFILE)\n"
            f"hint: raise workers to {-(-plan.connections // max(limit - 256, 1))} or more, or the hard limit"
        )
        return 3
    return Coordinator(plan, lifecycle.Signals()).run()


if __name__ == "__main__":
    sys.exit(main())
