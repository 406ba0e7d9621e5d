"""What the tests of the compose engine need: the engine with each Compose, the Docker API, a run of each test's own."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from composes import COMPOSES, using

from lab.engines.compose import ComposeEngine
from lab.engines.docker_access import connect

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))  # compose_lab serves the tests with Docker too

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder needs Docker, and time."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def api() -> Iterator[docker.APIClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture(params=COMPOSES)
def engine(request: pytest.FixtureRequest) -> Iterator[ComposeEngine]:
    """The engine with each Compose; down at the end."""
    with using(request.param):
        engine = ComposeEngine()
        yield engine
        engine.down()


@pytest.fixture
def run_id() -> str:
    return f"test-{secrets.token_hex(4)}"
