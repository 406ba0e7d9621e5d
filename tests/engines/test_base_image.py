from __future__ import annotations

from pathlib import Path

import pytest

from lab.engines.base_image import _bootstrap_words, debian_mirror


@pytest.mark.parametrize(
    ("file", "text", "mirror"),
    [
        ("sources.list", "deb http://mirror.example/debian bookworm main\n", ["http://mirror.example/debian"]),
        ("sources.list", "deb [signed-by=/k] https://m.example/debian/ trixie main\n", ["https://m.example/debian"]),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://d.example/debian\n", ["http://d.example/debian"]),
        ("sources.list", "# deb http://old.example/debian x main\n", []),
        ("sources.list", "deb http://mirror.example/debian-security bookworm main\n", []),
        ("sources.list", "deb http://archive.example/ubuntu noble main\n", []),
        ("sources.list.d/notes.txt", "deb http://mirror.example/debian bookworm main\n", []),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses_here(tmp_path: Path, file: str, text: str, mirror: list[str]) -> None:
    target = tmp_path / file
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    assert debian_mirror(tmp_path) == mirror


@pytest.mark.parametrize("tool", ["mmdebstrap", "debootstrap"])
def test_both_tools_are_asked_for_the_same_system(tmp_path: Path, tool: str) -> None:
    said = " ".join(_bootstrap_words(tool, tmp_path, tmp_path / "base.tar"))
    for part in ("--variant=minbase", "--include=python3,ca-certificates", "trixie", str(tmp_path / "base.tar")):
        assert part in said
