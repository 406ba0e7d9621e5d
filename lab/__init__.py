"""Wirelab: one YAML scenario, real hosts, real sockets, lossless captures, a verdict with evidence."""

import time

__version__ = "0.1.0"

BEGAN = time.monotonic()
"""When this process began, near enough; on Linux other processes' clock is the same."""
