"""What every part of a scenario's schema shares, and how the members of a union are told apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it asks every installed package for one: 35 ms

from pydantic import BaseModel, ConfigDict

PHASE_TAG = "phase:"
STEP_TAG = "do:"
TAGS = (PHASE_TAG, STEP_TAG)
"""Open the tags that pydantic puts into the place of an error; no key of a scenario looks like that."""


class Part(BaseModel):
    """The base of every part: unknown keys are refused, values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def tagged_by(prefix: str, key: str) -> Callable[[Any], str | None]:
    """Return a discriminator: `prefix` and the text that stands under `key`; None where there is none."""

    def tag(value: Any) -> str | None:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return f"{prefix}{name}" if isinstance(name, str) else None

    return tag
