"""What tests of several files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.engines.netns import NetnsEngine
from lab.errors import MachineLacks
from lab.topology import Facts


@pytest.fixture(scope="module")
def facts() -> Facts:
    """What this machine lets the netns engine have."""
    try:
        return NetnsEngine().facts()
    except MachineLacks as lack:
        pytest.skip(f"{lack}; hint: {lack.hint}")


@pytest.fixture
def engine(facts: Facts) -> Iterator[NetnsEngine]:
    """A netns engine, which is down again afterwards."""
    engine = NetnsEngine()
    yield engine
    engine.down()
