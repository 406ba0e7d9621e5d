"""What a server does with a message, apart from any I/O.

A scenario names a handler by a short text; `parse_handler` turns it into a `Handler`, and the server's file shows how
its I/O model carries it out:

    upper          the message in capitals (ASCII letters)
    echo           the message itself
    discard        nothing: the message is read and never answered
    cpu:1ms        the message itself, after 1 ms of this thread's processor time was burnt
    sleep:10ms     the message itself, after a wait of 10 ms, in the way of the I/O model
    block:10ms     the message itself, after time.sleep(0.01): the thread stands still, whatever else it serves
    tickets:5ms    `ticket 7`: the number after the last one sold. Read, think for 5 ms, write back: no lock
    locked-tickets:5ms
                   the same, under a lock: a mutex
    burst:10       ten copies of the message, each an answer of its own
    respond:4KiB   4096 bytes, whatever the message was

`cpu` computes inside `answer`: computing looks alike in every model. `sleep` does not wait here: `pause_s` says how
long, and the model waits the way it can. A blocking model stops its thread (`time.sleep`), a coroutine is set aside
(`await`), and a hand-written event loop that sleeps keeps everybody waiting: that difference is a lesson of the lab.
`block` is what a coroutine must not do: it sleeps without giving way. `cpu`, `sleep` and `block` may be joined with
what follows: `cpu:20ms+sleep:80ms` computes and then waits, `block:30ms+respond:8B` answers shortly after a while.

The tickets are numbered by a counter in the process's memory. So threads share it, and without the lock two that read
it before either has written sell the same number; each forked child has a copy of its own, of the counter and of the
lock; and between two awaits of a coroutine nobody else can read it.
"""

from __future__ import annotations

import time

from lab.inside.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes that `respond` may answer with: a typing mistake must not eat a machine's memory."""


@frozen
class Handler:
    """How to answer one message."""

    text: str
    """The text it was parsed from."""
    answer: Callable[[bytes], bytes]
    """Message to answer; pure but for the time it may burn."""
    copies: int = 1
    """How many times the answer is sent, each framed and sent by itself; 0 never answers."""
    pause_s: float = 0.0
    """Seconds the server must wait before each answer, in the way of its I/O model."""

    @property
    def plain(self) -> bool:
        """One message, one answer, no pause: what a server's shortest path may assume."""
        return self.copies == 1 and self.pause_s == 0.0


def parse_handler(text: str) -> Handler:
    """Turn a scenario's words into a handler.

    Raises:
        ValueError: an unknown name, or an argument that is missing, unwanted or out of range.
    """
    name, _, argument = text.partition(":")
    if name in _PLAIN:
        if argument:
            raise ValueError(f"handler `{name}`: takes no argument, got `{argument}`")
        return Handler(text=text, answer=_PLAIN[name], copies=0 if name == "discard" else 1)
    if "+" in text:
        return _joined(text)
    if name == "cpu":
        burn_ns = _duration_ns(name, argument)
        return Handler(text=text, answer=lambda message: _burn(burn_ns, message))
    if name == "sleep":
        return Handler(text=text, answer=_same, pause_s=_duration_ns(name, argument) / 1e9)
    if name == "block":
        block_s = _duration_ns(name, argument) / 1e9
        return Handler(text=text, answer=lambda message: _block(block_s, message))
    if name in TICKETS:
        return Handler(text=text, answer=_ticket_office(_duration_ns(name, argument) / 1e9, locked=name != "tickets"))
    if name == "burst":
        if not argument.isdecimal() or not 1 <= int(argument) <= 100_000:
            raise ValueError(f"handler `burst`: 1 to 100000 copies are allowed, got `{argument}`")
        return Handler(text=text, answer=_same, copies=int(argument))
    if name == "respond":
        body = _fixed_answer(_size(name, argument))
        return Handler(text=text, answer=lambda _message: body)
    raise ValueError(
        f"unknown handler `{text}`; known are upper, echo, discard, cpu:TIME, sleep:TIME, block:TIME, tickets:TIME, "
        "locked-tickets:TIME, burst:COUNT, respond:SIZE"
    )


TICKETS = ("tickets", "locked-tickets")
"""Handlers whose answers are numbers: they differ in length."""
_MAY_BE_JOINED = ("cpu", "sleep", "block")
_same = bytes.__bytes__
"""Gives back the same object, called millions of times: the cheapest identity, a fifth of what `bytes` costs."""
_PLAIN: dict[str, Callable[[bytes], bytes]] = {"upper": bytes.upper, "echo": _same, "discard": _same}


def _joined(text: str) -> Handler:
    """`cpu:20ms+sleep:80ms`: one after the other; the pause of `sleep` comes last, since the model makes it."""
    *before, last = text.split("+")
    for part in before:
        if part.partition(":")[0] not in _MAY_BE_JOINED:
            raise ValueError(f"handler `{text}`: {', '.join(_MAY_BE_JOINED)} may stand before a +, got `{part}`")
    if last.partition(":")[0] in TICKETS:
        raise ValueError(f"handler `{text}`: `{last}` stands alone")
    whole = parse_handler(last)
    for part in reversed(before):
        first = parse_handler(part)
        whole = Handler(
            text=text,
            answer=_after(first.answer, whole.answer),
            copies=whole.copies,
            pause_s=first.pause_s + whole.pause_s,
        )
    return whole


def _after(first: Callable[[bytes], bytes], second: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda message: second(first(message))


def _block(block_s: float, message: bytes) -> bytes:
    time.sleep(block_s)
    return message


def _ticket_office(think_s: float, *, locked: bool) -> Callable[[bytes], bytes]:
    """What sells a ticket: reads how many were sold, thinks, and writes one more. `locked`: one buyer at a time."""
    import threading  # what most programs that import this module do not need

    mutex = threading.Lock()
    sold = 0

    def sell(_message: bytes) -> bytes:
        nonlocal sold
        number = sold + 1
        time.sleep(think_s)  # gives the interpreter lock back, as every system call does: others run here
        sold = number
        return b"ticket %d" % number

    def sell_locked(message: bytes) -> bytes:
        with mutex:
            return sell(message)

    return sell_locked if locked else sell


def _burn(burn_ns: int, message: bytes) -> bytes:
    """Compute until this thread has used `burn_ns` of processor time, then give the message back.

    The thread's own clock, not the wall's: under threads that share one interpreter lock each message still costs the
    same work, and the waiting for the lock comes on top, where it can be seen.
    """
    end_ns = time.thread_time_ns() + burn_ns
    value = 1
    while time.thread_time_ns() < end_ns:
        for _ in range(50):
            value = (value * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
    return message


def _fixed_answer(size: int) -> bytes:
    """`size` bytes that show their own position: every 16th byte starts `[offset]`, dots between."""
    ruler = b"".join(f"[{offset}]".encode().ljust(16, b".") for offset in range(0, min(size, 1 << 16), 16))
    return (ruler * (size // max(len(ruler), 1) + 1))[:size]


_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_BYTES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KiB": 1024, "MiB": 1024**2}


def _number_and_unit(text: str) -> tuple[str, str]:
    """`1.5ms` as `1.5` and `ms`: by hand, since importing `re` costs a server more than reading its options."""
    number = text.rstrip("BKMibmnsu")
    return number, text[len(number) :]


def _duration_ns(name: str, text: str) -> int:
    number, unit = _number_and_unit(text)
    whole, point, part = number.partition(".")
    if unit not in _NS or not whole.isdecimal() or (point and not part.isdecimal()):
        raise ValueError(f"handler `{name}`: a time such as 1ms is needed, got `{text}`")
    return round(float(number) * _NS[unit])


def _size(name: str, text: str) -> int:
    number, unit = _number_and_unit(text)
    if unit not in _BYTES or not number.isdecimal():
        raise ValueError(f"handler `{name}`: a size such as 4KiB is needed, got `{text}`")
    size = int(number) * _BYTES[unit]
    if not 1 <= size <= LARGEST_ANSWER:
        raise ValueError(f"handler `{name}`: 1 to {LARGEST_ANSWER} bytes are allowed, got {size}")
    return size
