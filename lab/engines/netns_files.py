"""Hand over the files that programs left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.errors import RunFailed


def collect_files(source: Path, target: Path, *, final: bool) -> None:
    """Put every file below `source` into `target`, in the same folders.

    `final`: nobody writes any more, so a second name for the same file (a hard link) will do, and a capture of
    gigabytes takes no time; it does not on another file system. Raises RunFailed.
    """
    try:
        for folder, _folders, names in os.walk(source, onerror=_raise):
            goal = target / Path(folder).relative_to(source)
            goal.mkdir(parents=True, exist_ok=True)
            for name in names:
                _place(Path(folder, name), goal / name, final=final)
    except OSError as error:
        raise RunFailed(f"{error.filename or source}: cannot be collected: {error.strerror or error}") from error


def _place(source: Path, goal: Path, *, final: bool) -> None:
    goal.unlink(missing_ok=True)
    if final:
        try:
            os.link(source, goal, follow_symlinks=False)
        except OSError:  # another file system, or one without links
            pass
        else:
            return
    shutil.copyfile(source, goal, follow_symlinks=False)


def _raise(error: OSError) -> None:
    raise error
