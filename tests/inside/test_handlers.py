"""Handlers: what each word answers, and what is refused."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "text",
    [
        "",
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
