"""The command: `python -m lab.inside.fleet --plan '<JSON>'`, or `--plan @FILE`.

Exit codes: 0 the plan was gone through (errors met on the way are in the result), 1 a worker broke, 2 the plan is
wrong, 3 this machine lacks what it takes.
"""

from __future__ import annotations

import sys

from lab.inside import lifecycle
from lab.inside.arguments import Option, read_arguments

from .coordinator import Coordinator
from .plan import PlanInvalid, read_plan

OPTIONS = [Option("plan", "what to do, as JSON or @FILE: see lab/inside/fleet/plan.py", required=True)]


def main(arguments: list[str] | None = None) -> int:
    given = read_arguments("fleet", "The client fleet of one host.", OPTIONS, arguments)["plan"]
    try:
        if given.startswith("@"):
            with open(given[1:]) as file:
                given = file.read()
        plan = read_plan(given)
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
