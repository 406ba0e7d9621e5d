"""When an answer is complete, and whether it is the right one.

Two ways to tell, behind the same two calls: answers of a known size are counted by their bytes; otherwise the
framing's decoder finds their ends. Only a connection in the middle of an answer takes memory here.
"""

from __future__ import annotations

from _random import Random

from lab.inside.framing import Decoder, FixedSize, Framing, FramingError, parse_framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lab.inside.boundary_tap import Tap

    from .plan import Plan

LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def body(size: int, seed: int) -> bytes:
    """The body of every message: lower-case letters drawn by the seed, so that `upper` visibly changes each."""
    draw = Random(seed).random
    text = bytes(LETTERS[int(draw() * len(LETTERS))] for _ in range(min(size, 4096)))
    return (text * (size // len(text) + 1))[:size]


class KnownSizeAnswers:
    """Answers of `size` bytes each; `expected` is what each must be, or None if only its size counts."""

    def __init__(self, size: int, expected: bytes | None) -> None:
        self.size = size
        self._expected = expected
        self._partial: dict[int, bytearray] = {}

    def take(self, fd: int, data: bytes) -> tuple[int, bytes | None]:
        kept = self._partial.pop(fd, None)
        if kept is not None:
            kept += data
            data = kept  # type: ignore[assignment]
        size = self.size
        complete, rest = divmod(len(data), size)
        wrong = None
        if self._expected is not None:
            for i in range(complete):
                if data[i * size : (i + 1) * size] != self._expected:
                    wrong = bytes(data[i * size : (i + 1) * size])
                    break
        if rest:
            self._partial[fd] = bytearray(data[complete * size :])
        return complete, wrong

    def forget(self, fd: int) -> None:
        self._partial.pop(fd, None)


class FramedAnswers:
    """Answers whose ends the framing tells. `expected` is a right answer's content, or None if any will do."""

    def __init__(self, framing: Framing, expected: bytes | None) -> None:
        self._framing = framing
        self._expected = expected
        self._partial: dict[int, Decoder] = {}

    def take(self, fd: int, data: bytes) -> tuple[int, bytes | None]:
        decoder = self._partial.pop(fd, None) or self._framing.decoder()
        try:
            messages = decoder.feed(data)
        except FramingError as error:
            return len(error.messages), data
        if decoder.kept:
            self._partial[fd] = decoder
        if self._expected is None:
            return len(messages), None
        return len(messages), next((message for message in messages if message != self._expected), None)

    def forget(self, fd: int) -> None:
        self._partial.pop(fd, None)


if TYPE_CHECKING:
    Answers = KnownSizeAnswers | FramedAnswers
    """What cuts bytes that were read into answers. `take` returns how many answers they complete, and the first wrong
    one; `forget` drops what is kept for a connection that is gone."""


def boundary_tap(plan: Plan) -> Tap | None:
    """Return what logs the boundaries of the first connections; None where the plan wants none."""
    if not plan.boundaries:
        return None
    from lab.inside.boundary_tap import Tap

    requests, answers = (parse_framing(plan.message.framing, side=side) for side in ("server", "client"))
    if plan.message.answer_bytes is not None:
        answers = FixedSize(plan.message.answer_bytes)
    return Tap(plan.boundaries, incoming=answers, outgoing=requests, protocol=plan.transport)


def request_and_answers(plan: Plan) -> tuple[bytes, bytes | None, Answers]:
    """Return what every message is in the stream, what a right answer is, and how to cut answers out of the stream."""
    message = plan.message
    content = body(message.bytes, plan.seed)
    right = {"upper": content.upper(), "echo": content, None: None}[message.check]
    if plan.transport == "udp":
        return content, None, KnownSizeAnswers(1, None)  # `udp.py` tells answers apart by their numbers
    framing = parse_framing(message.framing, side="client")
    request = framing.encode(content)
    if message.answer_bytes is not None:
        return request, right, KnownSizeAnswers(message.answer_bytes, right)
    return request, right, FramedAnswers(framing, right)
