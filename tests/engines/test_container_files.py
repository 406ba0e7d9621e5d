from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engines.container_files import unpack

LARGE = bytes(range(256)) * 9_000


def archive(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo("out")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [511, 65536, 1 << 30])
def test_files_arrive_byte_for_byte_however_the_stream_is_cut(tmp_path: Path, size: int) -> None:
    unpack(pieces(archive(("out/large.bin", LARGE), ("out/empty", b""), ("out/deep/er/x", b"x")), size), tmp_path)
    assert (tmp_path / "large.bin").read_bytes() == LARGE
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "deep" / "er" / "x").read_bytes() == b"x"


def test_a_stream_that_ends_early_leaves_no_broken_file(tmp_path: Path) -> None:
    whole = archive(("out/first", b"1"), ("out/large.bin", LARGE))
    with pytest.raises((tarfile.TarError, EOFError)):
        unpack(pieces(whole[: len(whole) // 2], 4096), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["first"]


def test_a_name_that_leads_out_of_the_folder_is_left_out(tmp_path: Path) -> None:
    target = tmp_path / "inner"
    target.mkdir()
    unpack([archive(("out/../../escaped", b"!"), ("out/kept", b"."))], target)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["kept"]
