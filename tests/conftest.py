"""What holds for all tests: how they are shared out (`shares.py`), and that the analysis is compiled once."""

from __future__ import annotations

import functools
import gc
import signal
from collections.abc import Iterator

import pytest
import shares
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class Sharing(LoadScopeScheduling):
    """Give each free process the next share in the order of the collection.

    xdist's own `--dist loadgroup` reads a test's group from its node id, where pytest 9.2 no longer lets xdist 3.8
    write it: marks of groups have no effect, and nothing says so.
    """

    def _split_scope(self, nodeid: str) -> str:
        return shares.share(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    config.option.loadscopereorder = False  # it would put the largest shares first
    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {node_id: place for place, node_id in enumerate(shares.order(item.nodeid for item in items))}
    items.sort(key=lambda item: places[item.nodeid])


# What is imported until the first test stays: the collector need not look through it again and again.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


# A shell starts what it runs in the background with interrupts ignored, and Python then leaves them so: tests of Ctrl-C
# would wait for one in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the test's own timeout
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if shares.needs_analysis(item.nodeid):
        compile_analysis()
    return (yield)


@functools.cache
def compile_analysis() -> None:
    """Load the analysis. Where it is not compiled yet, one process compiles it and the others wait for that."""
    from lab.results import warm_up

    warm_up()
