"""What the programs in containers say and do, as one queue of news.

One thread a container reads its output over the API. Attached before the container starts, it misses nothing and does
not depend on the engine's log driver; attached later (`lab down` after `lab up`), it reads the log from the beginning.
The exit comes last: it is asked for only after the output has ended.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import docker
from docker.errors import APIError
from requests.exceptions import RequestException

from lab.engines import News

LOST_EXIT_CODE = 255
"""Reported when the engine stopped answering, or somebody removed the container: how it ended is not known."""

JOIN_S = 1.0
"""How long the readers may take to see that their containers are gone."""


class ContainerNews:
    """Follows containers. `follow` and `next` are called by one thread; the readers run beside it."""

    def __init__(self, api: docker.APIClient) -> None:
        self._api = api
        self._queue: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._readers: list[threading.Thread] = []
        self._streams: list[Any] = []
        self._closed = False

    def follow(self, program: str, container: str) -> None:
        """Follow a container that is created but not started."""
        stream = self._api.attach(container, stdout=True, stderr=True, stream=True, logs=False, demux=True)
        self._streams.append(stream)
        self._read(program, container, [stream])

    def follow_again(self, program: str, container: str) -> None:
        """Follow a container that runs or has run, from its first line on; order holds within each of its outputs."""
        streams = [
            self._api.logs(container, stdout=out, stderr=not out, stream=True, follow=True) for out in (True, False)
        ]
        self._streams += streams
        self._read(program, container, [_demuxed(streams[0], 0), _demuxed(streams[1], 1)])

    def next(self, timeout_s: float) -> News | None:
        """Return the next news, or None when `timeout_s` passed without any."""
        try:
            return self._queue.get(timeout=max(0.0, timeout_s)) if timeout_s > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Stop following. The containers are gone by now, so the readers end by themselves; a stuck one is cut off."""
        self._closed = True
        deadline = time.monotonic() + JOIN_S
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        for stream in self._streams:
            with suppress(OSError, RequestException, APIError):
                stream.close()  # shuts the socket down: a reader that waits in it wakes up
        for reader in self._readers:
            reader.join(JOIN_S)
        for stream in self._streams:
            with suppress(OSError, RequestException, APIError):
                stream._response.close()  # closes its descriptor, which is otherwise left to the garbage collector
        self._streams.clear()
        self._readers.clear()

    def _read(self, program: str, container: str, streams: list[Any]) -> None:
        reader = threading.Thread(
            target=self._read_to_the_end, args=(program, container, streams), name=f"news of {program}", daemon=True
        )
        self._readers.append(reader)
        reader.start()

    def _read_to_the_end(self, program: str, container: str, streams: list[Any]) -> None:
        if len(streams) == 1:
            self._read_stream(program, streams[0])
        else:
            parts = [threading.Thread(target=self._read_stream, args=(program, s), daemon=True) for s in streams]
            for part in parts:
                part.start()
            for part in parts:
                part.join()
        if not self._closed:
            self._queue.put(News(program=program, exit_code=self._exit_code(container)))

    def _read_stream(self, program: str, stream: Iterator[tuple[bytes | None, bytes | None]]) -> None:
        out, err = _Lines(), _Lines()
        # A connection that breaks ends the output; the exit code then says whether the container did.
        with suppress(OSError, RequestException, APIError, ValueError):
            for out_part, err_part in stream:
                for line in out.feed(out_part or b""):
                    self._queue.put(parse_line(program, line))
                for line in err.feed(err_part or b""):
                    self._queue.put(News(program=program, log=line))
        for line in out.rest():
            self._queue.put(parse_line(program, line))
        for line in err.rest():
            self._queue.put(News(program=program, log=line))

    def _exit_code(self, container: str) -> int:
        """Return how the container ended. It may take a moment after its output ended, or go on without output."""
        try:
            return int(self._api.wait(container, timeout=None)["StatusCode"])
        except (APIError, RequestException, OSError):
            return LOST_EXIT_CODE


class _Lines:
    """Cuts a stream of bytes into lines; a character or a line may come in pieces."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, part: bytes) -> list[str]:
        """Take in bytes; return the lines that are whole now."""
        *whole, self._partial = (self._partial + part).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]

    def rest(self) -> list[str]:
        """Return what came without a final newline."""
        rest, self._partial = self._partial, b""
        return [rest.decode("utf-8", "replace")] if rest else []


def parse_line(program: str, line: str) -> News:
    """Read a line of standard output: an event if it is a JSON object with the key `event`, else text."""
    with suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and "event" in event:
            return News(program=program, event=event)
    return News(program=program, log=line)


def _demuxed(stream: Iterator[bytes], place: int) -> Iterator[tuple[bytes | None, bytes | None]]:
    for part in stream:
        yield (part, None) if place == 0 else (None, part)
