"""News that waits for the lab: in order, each once, and bounded.

While a lab is subscribed nothing is lost: when it reads too slowly `full` tells the holder to stop reading from the
programs, which then wait at their full pipes. While nobody is subscribed (a lab brought up and left) programs must not
stand still for that, so the oldest lines go, and how many went is told first; ends of programs are always kept.
"""

from __future__ import annotations

from collections import deque

from lab.engines.netns_channel import Channel, Message

NEWS_MAX = 100_000
SEND_AHEAD_BYTES = 1 << 20
"""How much may wait in the channel; the rest waits here, where it survives the lab."""


class Backlog:
    def __init__(self) -> None:
        self.subscriber: Channel | None = None
        self._news: deque[Message] = deque()
        self._dropped = 0

    @property
    def full(self) -> bool:
        return self.subscriber is not None and len(self._news) >= NEWS_MAX

    def append_line(self, program: str, stream: str, line: str) -> None:
        self._append({"news": program, "stream": stream, "line": line})

    def append_exit(self, program: str, code: int) -> None:
        self._append({"news": program, "exit": code})

    def _append(self, news: Message) -> None:
        self._news.append(news)
        if self.subscriber is None and len(self._news) > NEWS_MAX:
            oldest = self._news.popleft()
            if "exit" in oldest:
                self._news.append(oldest)
            else:
                self._dropped += 1

    def put_back(self, unread: list[Message]) -> None:
        """Take back, in front, what a lab had been sent but not read when it left."""
        self._news.extendleft(reversed(unread))

    def pass_on(self) -> None:
        """Send the subscriber what it has room for. Raises ConnectionError."""
        if self.subscriber is None:
            return
        if self._dropped and self._news:
            line = f"({self._dropped} earlier lines of the run were dropped while no lab listened)"
            self._news.appendleft({"news": self._news[0]["news"], "stream": "err", "line": line})
            self._dropped = 0
        while self._news and self.subscriber.pending < SEND_AHEAD_BYTES:
            self.subscriber.put(self._news.popleft())
