"""A pass by two threads says what one batch after the other would say, and ends whatever happens to it."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lab.analysis import analyze, capture_file, survey
from lab.errors import CaptureFileBroken
from tests.analysis.test_corpus import CASES, input_of

ALL = tuple(input_of(case) for case in CASES)


def at_work() -> int:
    """Threads of passes that are still running."""
    return sum(thread.name == survey.THREAD_NAME for thread in threading.enumerate())


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a capture of some hundred packets as many batches, buffers and chunks as a long one is otherwise."""
    for module in (capture_file, survey):
        monkeypatch.setattr(module, "BATCH_PACKETS", 3)
    monkeypatch.setattr(capture_file, "BUFFER_BYTES", 400)


@pytest.mark.usefixtures("small_batches")
def test_many_small_batches_give_the_same_tables() -> None:
    by_batches, chunks = survey.survey(ALL, chunk_packets=7)
    packets = np.concatenate([chunk.copy() for chunk in chunks])
    whole, chunks = survey.survey(ALL)
    assert np.array_equal(packets, np.concatenate([chunk.copy() for chunk in chunks]))
    for array in ("connections", "sides", "flows", "pairs", "addresses", "counts"):
        assert np.array_equal(getattr(by_batches.state, array)[:1000], getattr(whole.state, array)[:1000]), array
    assert [(c.packets, c.first_ns, c.last_ns) for c in by_batches.captures] == [
        (c.packets, c.first_ns, c.last_ns) for c in whole.captures
    ]


@pytest.mark.usefixtures("small_batches")
def test_a_pass_that_nobody_wants_to_its_end_leaves_no_thread() -> None:
    _, chunks = survey.survey(ALL, chunk_packets=7)
    assert len(list(islice(chunks, 2))) == 2
    assert at_work()
    chunks.close()  # type: ignore[attr-defined]
    assert not at_work()


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("where", ["dissect", "RESOLVE", "FOLLOW"])
def test_an_error_in_a_thread_is_raised_to_the_caller(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    calls, right = iter(range(100)), getattr(survey, where)

    def fails(*arguments: object) -> None:
        if next(calls) == 5:
            raise MemoryError("no memory")
        right(*arguments)

    monkeypatch.setattr(survey, where, fails)
    with pytest.raises(MemoryError, match="no memory"):
        analyze(ALL)
    assert not at_work()


@pytest.mark.usefixtures("small_batches")
def test_a_broken_file_among_others_is_noted_and_the_next_goes_on(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(ALL[0].read_bytes()[:-5])
    analysis = analyze([ALL[1], cut, ALL[2]])
    assert [type(error) for error in analysis.errors] == [CaptureFileBroken]
    assert analysis.captures["error"].is_null().to_list() == [True, False, True]
    assert analysis.packet_count == analysis.captures["packets"].sum()
