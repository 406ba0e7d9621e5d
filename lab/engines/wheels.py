"""The Python packages of an image as wheels, fetched here by the image's lock file, for the image's Python and machine.

They are downloaded on this machine, not inside `docker build`: a build does not trust the certificate of a proxy that
looks into TLS, and a build without network is a build that repeats. pip checks every file against the lock's hashes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from lab.engines import Say, child
from lab.errors import RunFailed

PYTHON = "3.13"
NEWEST_GLIBC_MINOR = 41
"""Debian 13 has glibc 2.41; wheels say which glibc 2.x they need at least."""
DOWNLOAD_S = 900.0


def ensure_wheels(images: Path, image: str, architecture: str, say: Say) -> list[Path]:
    """Return the wheels that `images/<image>/requirements.lock` names, downloaded unless they are here already.

    Raises RunFailed when one cannot be had.
    """
    lock = images / image / "requirements.lock"
    folder = images / "wheels" / image
    stamp = folder / f"{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}-{architecture}.complete"
    if not stamp.exists():
        count = len(re.findall(r"^\S+==", lock.read_text(), re.MULTILINE))
        say(f"downloading {count} Python packages of image {image}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{image}-") as scratch:
            _download(lock, Path(scratch), architecture)
            (Path(scratch) / stamp.name).touch()
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(scratch, folder, dirs_exist_ok=True)
    return sorted(folder.glob("*.whl"))


def _download(lock: Path, folder: Path, architecture: str) -> None:
    platforms = [f"manylinux_2_{minor}_{architecture}" for minor in range(NEWEST_GLIBC_MINOR, 4, -1)]
    platforms += [f"manylinux2014_{architecture}", f"manylinux2010_{architecture}", f"linux_{architecture}"]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    words += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    words += [f"--platform={platform}" for platform in platforms]
    words += [f"--dest={folder}", f"--requirement={lock}"]
    ended = child.run(words, timeout_s=DOWNLOAD_S, environment={"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    if ended.exit_code != 0:
        why = "not complete in time" if ended.timed_out else ended.last_lines()
        raise RunFailed(
            f"{os.path.relpath(lock)}: its packages cannot be downloaded\n{why}",
            hint="check that `pip download` works here (network, proxy, PIP_CERT)",
        )
