"""What a probe found out, kept in the user's cache folder until anything it depends on has changed.

A probe costs half a second of every run, and its answer changes about once a month: with a new kernel, another limit,
another Docker engine. So each answer is stored with a digest of whatever could change it; another digest, and the probe
is asked again, while the old answer stays for the day its conditions come back. Only what was found is kept, never that
something cannot be had: a remedy shall work at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

CONDITIONS_KEPT = 16
"""Conditions of which the answers are kept side by side: two checkouts, root and another user, a container and none."""


def kept(name: str, depends_on: Iterable[object], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `find` found under the same conditions before, else call it and keep what it returns (as JSON)."""
    digest = hashlib.sha256("\0".join(map(str, depends_on)).encode()).hexdigest()
    file = kept_file(name)
    if (known := _answers(file).get(digest)) is not None:
        return dict(known)
    found = find()
    answers = {**_answers(file), digest: found}  # read again: a probe takes long enough for others to add theirs
    with suppress(OSError):  # a home that cannot be written to costs the probe's time, no more
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(dict(list(answers.items())[-CONDITIONS_KEPT:])))
        partial.replace(file)
    return found


def _answers(file: Path) -> dict[str, dict[str, Any]]:
    """What is kept, by the digest of the conditions, the oldest first; nothing of a file that is broken."""
    try:
        stored = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    answers = stored.items() if isinstance(stored, dict) else ()
    return {digest: found for digest, found in answers if isinstance(found, dict)}


def kept_file(name: str) -> Path:
    """Return where the findings of that name are kept."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wirelab"
    except RuntimeError:  # a user without a home
        folder = Path(tempfile.gettempdir()) / f"wirelab-{os.getuid()}"
    return folder / f"{name}.json"


def forget(name: str) -> None:
    """Drop what is kept: it has proved wrong."""
    kept_file(name).unlink(missing_ok=True)


def mark(path: str | os.PathLike[str] | None) -> str:
    """Return what tells one state of a file from another: its place, inode, size and time of change."""
    if path is None:
        return "none"
    try:
        status = os.stat(path)
    except OSError:
        return f"{path} none"
    return f"{path} {status.st_ino} {status.st_size} {status.st_ctime_ns}"
