"""Lend this terminal to a command in a host: bytes both ways through a pseudo-terminal, window size included."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_READ_BYTES = 1 << 16


@contextmanager
def pseudo_terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal as (our end, the command's end), sized like this terminal; the caller closes the latter."""
    ours, theirs = pty.openpty()
    _copy_size(ours)
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def relay(ours: int, control: int, ended: Callable[[], bool]) -> None:
    """Pass bytes between this terminal (descriptors 0 and 1) and the pseudo-terminal until `ended()`, which is asked
    whenever `control` is readable. This terminal is raw meanwhile: Ctrl-C goes to the command as a key.
    """
    before = termios.tcgetattr(0)
    resized = signal.signal(signal.SIGWINCH, lambda _number, _frame: _copy_size(ours))
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is kept
        watched = [0, ours, control]
        while True:
            ready = select.select(watched, [], [])[0]
            if ours in ready and not _pass(ours, 1):
                watched.remove(ours)
            if 0 in ready and not _pass(0, ours):
                watched.remove(0)
            if control in ready and ended():
                break
        while select.select([ours], [], [], 0)[0] and _pass(ours, 1):
            pass  # its last words
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, resized)


def _pass(source: int, target: int) -> bool:
    """Copy what is there; False at the end. A pseudo-terminal whose other end is closed tells it as EIO."""
    try:
        data = os.read(source, _READ_BYTES)
    except OSError:
        return False
    while data:
        data = data[os.write(target, data) :]
        if not data:
            return True
    return False


def _copy_size(ours: int) -> None:
    with suppress(OSError):
        fcntl.ioctl(ours, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
