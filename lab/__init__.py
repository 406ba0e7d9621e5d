"""Wirelab: one YAML scenario, real hosts, real sockets, lossless captures, a verdict with evidence."""

__version__ = "0.1.0"
