"""What holds for all tests of the analysis: no array may count on what its memory held before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lab.analysis import kept_memory

LEFT_BY_OTHERS = 0xA5


@pytest.fixture(autouse=True)
def memory_that_others_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill every array of memory that may have been another's, as if it had been."""
    empty = kept_memory.empty

    def filled(count: int, record: npt.DTypeLike) -> npt.NDArray[Any]:
        array = empty(count, record)
        array.view(np.uint8)[:] = LEFT_BY_OTHERS
        return array

    monkeypatch.setattr(kept_memory, "empty", filled)
