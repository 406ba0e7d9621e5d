from __future__ import annotations

import pytest

from lab.engines import News
from lab.engines.container_news import _Lines, parse_line


def test_a_json_object_with_an_event_is_an_event() -> None:
    line = '{"event":"ready","t_ns":1}'
    assert parse_line("a/b", line) == News(program="a/b", event={"event": "ready", "t_ns": 1})


@pytest.mark.parametrize("line", ["plain text", "[1]", "17", '{"no": "event"}', '{"event": ', ""])
def test_any_other_line_is_a_log_line(line: str) -> None:
    assert parse_line("a/b", line) == News(program="a/b", log=line)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_the_stream_is_cut(size: int) -> None:
    text = "one\nzwei € drei\n\nrest"
    data = text.encode()
    lines = _Lines()
    found = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
    assert [*found, *lines.rest()] == text.split("\n")
    assert lines.rest() == []
