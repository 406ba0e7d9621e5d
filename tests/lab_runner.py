"""Typer's runner of the `lab` command in the test's own process, which builds the command once, not for each call.

Building it reads the signature of every verb: more than most calls then take.
"""

from __future__ import annotations

import functools

from typer import testing

testing._get_command = functools.cache(testing._get_command)
RUNNER = testing.CliRunner()
