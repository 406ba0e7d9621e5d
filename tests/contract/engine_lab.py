"""A run on an engine as tests drive it: a topology of a few hosts, news awaited with a bound, and always taken down."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from engine_topologies import build, engine_of

from lab.engines import Engine, News, SubnetTaken
from lab.errors import MachineLacks
from lab.topology import Facts, Topology

WITHIN_S = 60.0


def facts_or_skip(name: str) -> Facts:
    """What the engine finds; the test is skipped, naming what is missing, where the engine cannot work."""
    try:
        return engine_of(name).facts()
    except MachineLacks as lack:
        pytest.skip(f"{lack}; hint: {lack.hint}")


class Lab:
    """One run: up on entry, down on exit."""

    def __init__(self, engine: Engine, topology: Topology, folder: Path) -> None:
        self.engine = engine
        self.topology = topology
        self.run_id = uuid.uuid4().hex[:12]
        self.folder = folder / self.run_id
        self.heard: list[News] = []

    def __enter__(self) -> Lab:
        self.folder.mkdir(parents=True)
        said: list[str] = []
        try:
            self.engine.prepare(self.topology, said.append)
            for _try in range(8):
                try:
                    self.engine.up(self.topology, run_id=self.run_id, run_folder=self.folder, say=said.append)
                    break
                except SubnetTaken:
                    self.topology = build(self.engine.facts(), self.topology.programs)
            self.wait_ready(*(program.name for program in self.topology.of_role("host")))
        except BaseException:
            self.engine.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.engine.down()
        shutil.rmtree(self.folder)

    def address(self, host: str) -> str:
        return self.topology.host(host).interfaces[0].address

    def start(self, *names: str) -> None:
        self.engine.start([program for program in self.topology.programs if program.name in names])

    def wait(self, what: str, wanted: Callable[[News], bool]) -> News:
        """Return the first news, past or to come, that is wanted."""
        for news in self.heard:
            if wanted(news):
                return news
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            news_or_none = self.engine.next_news(1.0)
            if news_or_none is not None:
                self.heard.append(news_or_none)
                if wanted(news_or_none):
                    return news_or_none
        pytest.fail(f"{what} did not come within {WITHIN_S:g} s; heard {self.heard[-5:]}")

    def event(self, program: str, event: str) -> dict[str, Any]:
        """Wait for an event of a program."""

        def wanted(news: News) -> bool:
            if news.program == program and news.exit_code is not None:
                pytest.fail(f"{program} ended ({news.exit_code}) before its event {event}: {self.said_by(program)}")
            return news.program == program and news.event is not None and news.event["event"] == event

        found = self.wait(f"{program}: {event}", wanted).event
        assert found is not None
        return found

    def wait_ready(self, *programs: str) -> None:
        for program in programs:
            self.event(program, "ready")

    def exit_code(self, program: str) -> int:
        """Wait for a program's end."""
        code = self.wait(f"{program}: its end", lambda n: n.program == program and n.exit_code is not None).exit_code
        assert code is not None
        return code

    def said_by(self, program: str) -> list[str]:
        return [news.log for news in self.heard if news.program == program and news.log is not None]

    def collected(self, host: str) -> Path:
        target = self.folder / "collected" / host
        self.engine.collect(host, target)
        return target
