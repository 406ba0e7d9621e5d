"""The images hosts are started from, built when what goes into them has changed, and never otherwise.

An image `wirelab/<name>` is tagged with a digest of all that goes in: its Dockerfile, its lock file, the sources under
`lab/inside` with its machine code, and the base image's id. If that tag exists, the image is what it would be:
a second run builds nothing. It is tagged `latest` too, which is what `docker-compose.yml` uses by hand.

The build goes through the engine's API with exactly the files that were digested. The API's classic builder exists in
every Docker engine to date and always sees local images, whatever builder the user's `docker buildx` is set to; an
engine that refuses it is asked through `docker build`, which then means BuildKit.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError

from lab.engines import Say
from lab.engines.base_image import ensure_base, find_image, image_id
from lab.engines.machine_code import ensure_machine_code
from lab.engines.wheels import ensure_wheels
from lab.errors import RunFailed

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: images are built from what stands in it."""


SILENCE_S = 300
"""A build that says nothing for so long is given up."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that exists in the engine."""

    name: str
    """The folder under images/: `host`, `capture`, `servers`."""
    tag: str
    """E.g. `wirelab/host:3f2a91c07be4`."""
    id: str


def ensure_images(api: docker.APIClient, names: Iterable[str], say: Say) -> dict[str, Image]:
    """Return the named images, each built first where it is missing. Raises MachineLacks, RunFailed."""
    ensure_machine_code(say)
    base = ensure_base(api, say)
    base_id = image_id(api, base)
    # One after the other, in this thread: an interrupted build loses its connection, and the engine then gives it up.
    return {name: _ensure(api, name, base, base_id, say) for name in sorted(set(names))}


def _ensure(api: docker.APIClient, name: str, base: str, base_id: str, say: Say) -> Image:
    files = dict(context_files(ROOT, name))
    tag = f"wirelab/{name}:{digest(files, base_id)}"
    found = find_image(api, tag)
    if found is None:
        _build(api, name, tag, base, files, say)
        api.tag(tag, f"wirelab/{name}", "latest")
        found = image_id(api, tag)
    return Image(name=name, tag=tag, id=found)


def context_files(root: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield what goes into an image, in order: the path inside the build context, and the file."""
    folder = root / "images" / name
    if not (folder / "Dockerfile").is_file():
        raise RunFailed(f"image {name}: {folder / 'Dockerfile'} does not exist", hint="run the lab from its checkout")
    inside = root / "lab" / "inside"
    sources = sorted(p for p in inside.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    sources += sorted(inside.rglob("__pycache__/*.code"))
    for file in (*sorted(p for p in folder.iterdir() if p.is_file()), root / "lab" / "__init__.py", *sources):
        yield file.relative_to(root).as_posix(), file


def digest(files: Mapping[str, Path], base_id: str) -> str:
    """Return twelve digits that change whenever anything that goes into the image does."""
    hasher = hashlib.sha256(base_id.encode())
    for path, file in files.items():
        hasher.update(f"\0{path}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return hasher.hexdigest()[:12]


def _build(api: docker.APIClient, name: str, tag: str, base: str, files: Mapping[str, Path], say: Say) -> None:
    wheels: list[Path] = []
    if f"images/{name}/requirements.lock" in files:
        wheels = ensure_wheels(ROOT / "images", name, api.info()["Architecture"], say)
    say(f"building image {name} ({tag})")
    with tempfile.TemporaryFile() as context:
        _pack(context, {**files, **{f"images/wheels/{name}/{wheel.name}": wheel for wheel in wheels}})
        context.seek(0)
        try:
            steps = api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=f"images/{name}/Dockerfile",
                tag=tag,
                buildargs={"BASE": base},
                rm=True,
                forcerm=True,
                timeout=SILENCE_S,
                decode=True,
            )
        except APIError as refusal:
            context.seek(0)
            build_by_command(context, name, tag, base, refusal)
        else:
            _follow(steps, name)


def _pack(target: IO[bytes], files: Mapping[str, Path]) -> None:
    """Write the build context: times and owners fixed, so that equal content is an equal context."""
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path, file in files.items():
            entry = tarfile.TarInfo(path)
            content = file.read_bytes()
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))


def _follow(steps: Iterable[dict[str, Any]], name: str) -> None:
    """Read the builder's talk to its end. Raises RunFailed with the last of it when a step fails."""
    talk: list[str] = []
    for step in steps:
        talk += str(step.get("stream", "")).splitlines()
        if "error" in step:
            last = "\n".join(line for line in talk[-12:] if line.strip())
            raise RunFailed(f"image {name}: the build failed: {step['error']}\n{last}")


def build_by_command(context: IO[bytes], name: str, tag: str, base: str, refusal: Exception | None) -> None:
    """Build through `docker build`, for an engine without the classic builder. Raises RunFailed."""
    words = ["docker", "build", "--tag", tag, "--build-arg", f"BASE={base}", "--file", f"images/{name}/Dockerfile", "-"]
    ended = subprocess.run(words, stdin=context, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if ended.returncode != 0:
        last = "\n".join(ended.stdout.decode(errors="replace").splitlines()[-12:])
        raise RunFailed(f"image {name}: the build failed\n{last}", hint=str(refusal) if refusal else None)
