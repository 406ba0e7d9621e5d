"""How the per-packet loops become machine code, and where that code is kept.

`@kernel` compiles a function that Python calls, and keeps the result on disk, so that only the very first analysis on a
machine waits (`compile_ahead.py` says how) and every later one starts at once. `@inlined` is for all that kernels call:
it becomes a part of each of them, with no entry for Python (calling it from there would crash) and no file of its own,
which would be a third of the time to compile.

numba's own cache looks only at the file a function stands in: a change to a helper in another file would go unnoticed
and old code would run. Here the folder's name carries a digest of all files with kernels and of the versions of numba
and of Python, so that any change compiles anew. The folder lies beside the package; where that cannot be written to
(an installed package, a read-only image), in the user's cache folder; and failing that in the temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

HERE = Path(__file__).parent
_MARKS = (b"\n@kernel\n", b"\n@inlined\n", b"import intrinsic\n")
Function = TypeVar("Function", bound=Callable[..., Any])


def _digest() -> str:
    """Name this exact code: every file with kernels or with what they are built on, numba, Python."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for source in sorted(HERE.glob("*.py")):
        text = source.read_bytes()
        if any(mark in text for mark in _MARKS) or source.name in ("compiled.py", "state.py", "words.py"):
            digest.update(text)
    return digest.hexdigest()[:16]


def _candidates() -> Iterator[Path]:
    """Folders that may hold the compiled code, the best first."""
    yield HERE / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wirelab"
    yield Path(tempfile.gettempdir()) / f"wirelab-{os.getuid()}"


def cache_folder(candidates: Iterator[Path] | None = None) -> Path | None:
    """Choose (and make) the folder for this code's machine code; None where nothing can be written at all."""
    name = f"compiled-{_digest()}"
    for parent in candidates or _candidates():
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        if parent == HERE / "__pycache__":
            for old in parent.glob("compiled-*"):
                if old != folder:
                    shutil.rmtree(old, ignore_errors=True)
        return folder
    return None


FOLDER = cache_folder()


def compiles_on_first_call() -> bool:
    """Tell whether the first analysis has to compile: not all of this code is on disk yet."""
    if cast(Any, numba.config).DISABLE_JIT:
        return False
    return FOLDER is None or not (FOLDER / "complete").exists()


def note_complete() -> None:
    """Leave a mark that all kernels are on disk."""
    if FOLDER is not None:
        (FOLDER / "complete").touch()


class _Cache(FunctionCache):  # type: ignore[misc, unused-ignore]
    """numba's own, but for what it does first: it makes its compiler ready, which takes 0.2 s and 70 modules, and only
    then looks whether there is anything to compile. Where there is, compiling makes it ready all the same."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def kernel(function: Function) -> Function:
    """Compile `function` by numba in nopython mode, without the interpreter lock, cached in `FOLDER`."""
    settings: Any = numba.config
    compile_by: Any = numba.njit
    # Without reference counts (the loops allocate nothing) and with every helper inlined: seven times as fast.
    compiled: Any = compile_by(nogil=True, forceinline=True, _nrt=False)(function)
    if FOLDER is None or compiled is function:  # nothing can be kept, or numba is switched off
        return cast(Function, compiled)
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(FOLDER)
    try:
        compiled._cache = _Cache(function)
    finally:
        settings.CACHE_DIR = before
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """Compile `function` as a part of the kernels that call it; Python must not call it."""
    compile_by: Any = numba.njit
    compiled: Function = compile_by(
        nogil=True, forceinline=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
    return compiled


def straight(function: Function) -> Function:
    """The same kernel, but from its second call on without numba's look at what types the arguments have.

    That look takes 100 us for a `State`. So all arguments must be of the same types at every call: nothing checks.
    """
    entry: Any = None

    def call(*arguments: Any) -> Any:
        nonlocal entry
        if entry is not None:
            return entry(*arguments)
        result = function(*arguments)
        compiled = list(getattr(function, "overloads", {}).values())
        if len(compiled) == 1:
            entry = compiled[0].entry_point
        return result

    return cast(Function, call)
