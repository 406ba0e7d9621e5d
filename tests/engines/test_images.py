from __future__ import annotations

import io
import re
import shutil
import tarfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from lab.engines.images import ROOT, _pack, context_files, digest
from lab.errors import RunFailed

NAMES = ("host", "capture", "servers")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what images are built from."""
    unwanted = shutil.ignore_patterns("__pycache__", "wheels")
    shutil.copytree(ROOT / "images", tmp_path / "images", ignore=unwanted)
    shutil.copytree(ROOT / "lab" / "inside", tmp_path / "lab" / "inside", ignore=unwanted)
    shutil.copy(ROOT / "lab" / "__init__.py", tmp_path / "lab" / "__init__.py")
    return tmp_path


def digest_of(checkout: Path, name: str, base: str = "sha256:1") -> str:
    return digest(dict(context_files(checkout, name)), base)


def test_equal_content_has_an_equal_digest_wherever_it_stands(checkout: Path) -> None:
    before = digest_of(checkout, "host")
    for file in checkout.rglob("*.py"):
        file.touch()
    assert digest_of(checkout, "host") == before


@pytest.mark.parametrize("changed", ["images/host/Dockerfile", "lab/__init__.py", "lab/inside/lifecycle.py"])
def test_a_change_in_anything_that_goes_in_changes_the_digest(checkout: Path, changed: str) -> None:
    before = digest_of(checkout, "host")
    (checkout / changed).write_text((checkout / changed).read_text() + "\n# changed\n")
    assert digest_of(checkout, "host") != before


def test_another_base_a_new_and_a_renamed_file_change_the_digest_and_bytecode_does_not(checkout: Path) -> None:
    before = digest_of(checkout, "host")
    assert digest_of(checkout, "host", base="sha256:2") != before
    bytecode = checkout / "lab" / "inside" / "__pycache__" / "x.pyc"
    bytecode.parent.mkdir()
    bytecode.write_bytes(b"x")
    assert digest_of(checkout, "host") == before
    new = checkout / "lab" / "inside" / "new.py"
    new.write_text("")
    added = digest_of(checkout, "host")
    new.rename(new.with_name("renamed.py"))
    assert len({before, added, digest_of(checkout, "host")}) == 3


def test_a_changed_lock_concerns_its_own_image_alone(checkout: Path) -> None:
    before = {name: digest_of(checkout, name) for name in NAMES}
    lock = checkout / "images" / "capture" / "requirements.lock"
    lock.write_text(lock.read_text() + "\n")
    assert [name for name in NAMES if digest_of(checkout, name) != before[name]] == ["capture"]


def test_an_image_without_a_folder_is_refused_with_a_hint(checkout: Path) -> None:
    with pytest.raises(RunFailed, match="nosuch") as refused:
        dict(context_files(checkout, "nosuch"))
    assert refused.value.hint is not None


@pytest.mark.parametrize("name", NAMES)
def test_dockerignore_lets_through_what_the_lab_itself_sends(name: str) -> None:
    rules = [r for r in (ROOT / ".dockerignore").read_text().splitlines() if r and not r.startswith("#")]
    for path, _ in context_files(ROOT, name):
        parents = [path, *(p.as_posix() for p in Path(path).parents if p.as_posix() != ".")]
        let_in = False
        for rule in rules:  # the last rule that matches a path, or a folder it is in, decides
            if any(fnmatch(part, rule.removeprefix("!")) and "**" not in rule for part in parents):
                let_in = rule.startswith("!")
        assert let_in, path


def test_the_packed_context_depends_on_the_content_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    contexts = []
    for mode in (0o600, 0o755):
        file.write_text("x = 1\n")
        file.chmod(mode)
        packed = io.BytesIO()
        _pack(packed, {"lab/a.py": file})
        contexts.append(packed.getvalue())
    assert contexts[0] == contexts[1]
    with tarfile.open(fileobj=io.BytesIO(contexts[0])) as archive:
        assert archive.getnames() == ["lab/a.py"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dockerfile_starts_from_the_chosen_base_and_marks_its_stages(name: str) -> None:
    text = (ROOT / "images" / name / "Dockerfile").read_text()
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == ["${BASE}"]
    assert re.findall(r"wirelab\.stage=(\w+)$", text, re.MULTILINE) == ["build", "image"]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]


@pytest.mark.parametrize("name", ["capture", "servers"])
def test_a_lock_pins_every_package_with_hashes_and_names_no_index(name: str) -> None:
    text = (ROOT / "images" / name / "requirements.lock").read_text()
    wanted = {line for line in (ROOT / "images" / name / "requirements.in").read_text().splitlines() if line[:1] != "#"}
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", text, re.MULTILINE))
    assert {re.split(r"[<>=]", line)[0] for line in wanted} <= set(pinned)
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
