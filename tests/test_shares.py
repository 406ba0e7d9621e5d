"""How the tests are shared out (`shares.py`): by what they need, and whole."""

from __future__ import annotations

import pytest
import shares

LAB = "tests/contract/test_command.py::test_a_run_leaves_its_evidence[netns]"
FRAMING = "tests/inside/test_framing.py::test_nothing[length]"
FUZZ = "tests/analysis/test_fuzz.py::test_random_bytes_are_survived"
CORPUS = "tests/analysis/test_corpus.py::test_a_case_means_what_its_expectations_say[fin4]"
SERVER = "tests/contract/test_servers.py::test_one[epoll]"


def test_one_compiles_the_analysis_while_the_others_do_without_and_short_tests_come_last() -> None:
    assert shares.order([CORPUS, FUZZ, LAB, SERVER, FRAMING]) == [CORPUS, FRAMING, SERVER, LAB, FUZZ]


def test_the_order_of_what_is_alike_stays() -> None:
    alike = [f"{FRAMING}{number}" for number in (3, 1, 2)]
    assert shares.order(alike) == alike


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (SERVER, SERVER.replace("test_one", "test_two"), True),
        (SERVER, SERVER.replace("epoll", "select"), False),
        (FRAMING, FRAMING.replace("nothing", "much"), False),
        (FUZZ, CORPUS, False),
    ],
)
def test_tests_of_one_server_stay_together(one: str, other: str, together: bool) -> None:
    assert (shares.share(one) == shares.share(other)) == together


def test_every_file_named_is_there(pytestconfig: pytest.Config) -> None:
    named = {*shares.ANALYSIS, *shares.ONE_PROCESS_A_PARAMETER}
    assert [name for name in named if not (pytestconfig.rootpath / name).exists()] == []
