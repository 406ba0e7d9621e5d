"""The scenario's number types: what a YAML value may look like, and the int or float it becomes.

Each is a pydantic type that parses through `lab.units` and shows in the JSON Schema as a pattern with examples.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from lab import units


def _string_or(kind: str, pattern: str, examples: list[Any], description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"type": kind, "minimum": 0}, {"type": "string", "pattern": pattern}],
            "examples": examples,
            "description": description,
        }
    )


def _string(pattern: str, examples: list[Any], description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"const": 0}, {"type": "string", "pattern": pattern}],
            "examples": examples,
            "description": description,
        }
    )


Count = Annotated[
    int,
    BeforeValidator(units.parse_count),
    _string_or("integer", units.COUNT_PATTERN, [200, "10k"], "a count: 200, 10k, 1M"),
]
DurationNs = Annotated[
    int,
    BeforeValidator(units.parse_duration_ns),
    _string(units.DURATION_PATTERN, ["5ms", "2s"], "a duration with its unit: ns, us, ms, s, min"),
]
Bytes = Annotated[
    int,
    BeforeValidator(units.parse_bytes),
    _string(units.BYTES_PATTERN, ["64B", "64KiB"], "a size with its unit: B, kB, MB, GB, KiB, MiB, GiB"),
]
Rate = Annotated[
    float,
    BeforeValidator(units.parse_rate),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": units.RATE_PATTERN,
            "examples": ["500/s", "2k/s"],
            "description": "events per second",
        }
    ),
]

Name = Annotated[
    str,
    Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", examples=["server", "client"]),
]
"""A host or network: lower-case letters, digits and inner hyphens, as a DNS label."""


def _scalar_text(value: object) -> str:
    """Sysctl and option values are text to the kernel; YAML may give an int, a bool, or a list of ints."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return "\t".join(str(item) for item in value)
    if isinstance(value, str):
        return re.sub(r"\s+", "\t", value.strip())
    raise ValueError(f"not a sysctl value, got {value!r}; an int, a text, or a list of ints")


SysctlValue = Annotated[
    str,
    BeforeValidator(_scalar_text),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}
    ),
]
