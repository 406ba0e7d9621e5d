"""The files a host's programs left in /out, copied out of a container over the API, whole or not at all."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import docker
from docker.errors import APIError, NotFound
from requests.exceptions import RequestException

from lab.errors import RunFailed

CHUNK_BYTES = 1 << 20


def collect(api: docker.APIClient, container: str, source: str, folder: Path, who: str) -> None:
    """Copy every file below `source` into `folder`, `who` being the host for messages.

    Raises RunFailed when a file cannot be had whole; the files before it are there then, that one is not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        chunks, _ = api.get_archive(container, source, chunk_size=CHUNK_BYTES)
        unpack(chunks, folder)
    except NotFound as error:
        raise RunFailed(f"{who}: {source} cannot be collected: the host is gone ({error.explanation})") from error
    except (APIError, RequestException, tarfile.TarError, EOFError, OSError) as error:
        raise RunFailed(f"{who}: {source} cannot be collected whole: {error}") from error


def unpack(chunks: Iterable[bytes], folder: Path) -> None:
    """Unpack a tar stream of one folder into `folder`, without that folder's own name.

    Each file appears under its name only when it is complete. Links and devices are left out: results are files. Raises
    tarfile.TarError or EOFError when the stream ends early, OSError when a file cannot be written.
    """
    with tarfile.open(fileobj=io.BufferedReader(_Stream(iter(chunks)), CHUNK_BYTES), mode="r|") as archive:
        for member in archive:
            below = PurePosixPath(member.name).parts[1:]
            if not below or ".." in below:
                continue
            target = folder.joinpath(*below)
            if member.isdir():
                target.mkdir(exist_ok=True, parents=True)
            elif member.isfile():
                _write(archive, member, target)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None, "a regular file has content"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    written = 0
    try:
        with open(partial, "wb") as file:
            while chunk := content.read(CHUNK_BYTES):
                written += file.write(chunk)
        if written != member.size:
            raise EOFError(f"{member.name} ends after {written} of {member.size} bytes")
        os.utime(partial, (member.mtime, member.mtime))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
