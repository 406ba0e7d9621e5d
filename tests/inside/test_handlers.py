"""Handlers: what each word answers, and what is refused."""

from __future__ import annotations

import threading
import time

import pytest

from lab.inside.handlers import parse_handler


@pytest.mark.parametrize(
    ("text", "message", "answer", "copies"),
    [
        ("upper", b"abc \xe4 1", b"ABC \xe4 1", 1),
        ("echo", b"abc", b"abc", 1),
        ("discard", b"abc", b"abc", 0),
        ("burst:10", b"abc", b"abc", 10),
        ("sleep:10ms", b"abc", b"abc", 1),
        ("cpu:10us", b"abc", b"abc", 1),
        ("block:1ms", b"abc", b"abc", 1),
        ("cpu:10us+sleep:10ms", b"abc", b"abc", 1),
        ("block:1ms+upper", b"abc", b"ABC", 1),
        ("cpu:10us+burst:3", b"abc", b"abc", 3),
        ("tickets:0ms", b"abc", b"ticket 1", 1),
        ("locked-tickets:0ms", b"abc", b"ticket 1", 1),
    ],
)
def test_each_word_answers_as_it_says(text: str, message: bytes, answer: bytes, copies: int) -> None:
    handler = parse_handler(text)

    assert (handler.answer(message), handler.copies, handler.text) == (answer, copies, text)


def test_respond_answers_its_size_whatever_the_message() -> None:
    assert len(parse_handler("respond:4KiB").answer(b"x")) == 4096
    assert len(parse_handler("respond:1MB").answer(b"")) == 1_000_000
    assert parse_handler("respond:40").answer(b"x") == b"[0].............[16]............[32]...."


def test_sleep_leaves_the_waiting_to_the_server() -> None:
    handler = parse_handler("sleep:60s")
    started = time.thread_time_ns()
    handler.answer(b"x")  # would hang the test if it waited

    assert handler.pause_s == 60.0
    assert not handler.plain
    assert time.thread_time_ns() - started < 1_000_000_000


def test_cpu_burns_this_threads_processor_time() -> None:
    handler = parse_handler("cpu:3ms")
    started = time.thread_time_ns()
    handler.answer(b"x")

    assert time.thread_time_ns() - started >= 3_000_000
    assert handler.plain


def test_block_waits_by_itself_and_uses_no_processor_time() -> None:
    handler = parse_handler("block:50ms")
    started, cpu = time.monotonic_ns(), time.thread_time_ns()
    handler.answer(b"x")

    assert time.monotonic_ns() - started >= 50_000_000
    assert time.thread_time_ns() - cpu < 40_000_000
    assert handler.plain


def test_joined_handlers_compute_in_the_answer_and_leave_the_pause_to_the_server() -> None:
    handler = parse_handler("cpu:3ms+sleep:60s+sleep:1s")
    started = time.thread_time_ns()
    handler.answer(b"x")  # would hang the test if it waited

    assert time.thread_time_ns() - started >= 3_000_000
    assert handler.pause_s == 61.0


def sold(text: str, buyers: int, each: int) -> list[bytes]:
    """All tickets that so many threads get from one handler, buying at the same time."""
    handler, tickets = parse_handler(text), []
    together = threading.Barrier(buyers)

    def buy() -> None:
        together.wait()
        for _ in range(each):
            tickets.append(handler.answer(b"please"))

    threads = [threading.Thread(target=buy) for _ in range(buyers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tickets


def test_without_a_lock_the_same_ticket_is_sold_to_several_threads() -> None:
    tickets = sold("tickets:100ms", buyers=4, each=1)

    assert len(tickets) == 4
    assert len(set(tickets)) < 4


def test_under_the_lock_no_ticket_is_sold_twice() -> None:
    tickets = sold("locked-tickets:100us", buyers=4, each=10)

    assert sorted(tickets) == sorted(b"ticket %d" % number for number in range(1, 41))


def test_each_handler_has_a_counter_of_its_own() -> None:
    assert [parse_handler("tickets:0ms").answer(b"x") for _ in range(2)] == [b"ticket 1", b"ticket 1"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "block",
        "tickets",
        "locked-tickets:5",
        "upper+cpu:1ms",
        "cpu:1ms+tickets:1ms",
        "+",
        "shout",
        "upper:1",
        "cpu",
        "cpu:1",
        "cpu:x",
        "sleep:ms",
        "burst",
        "burst:0",
        "burst:x",
        "respond:0",
        "respond:1GiB",
    ],
)
def test_wrong_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="handler"):
        parse_handler(text)
