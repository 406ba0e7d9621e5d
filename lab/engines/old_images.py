"""Images that an earlier state of the code left in a Docker engine: found by their labels, and removed on request.

Every change of a program under `lab/inside` makes a new image under a new tag (`images.py`), and the one before stays:
another checkout may still use it, and it costs little, for most of its layers are the new one's too. What costs is
their number. Only what carries the lab's labels is looked at; images that this checkout would use now are current, and
one that a container was made of is in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

from lab.engines import labels
from lab.engines.base_image import TAG, find_image
from lab.engines.docker_access import connect
from lab.engines.docker_resources import refuse_remains
from lab.engines.images import ROOT, context_files, digest

MARK = f"{labels.PROJECT}={labels.PROJECT_NAME}"


@dataclass(frozen=True, kw_only=True)
class OldImage:
    """An image of earlier code."""

    id: str
    tags: tuple[str, ...]
    """Empty for what a build left that a later one took the tag from, or that never ended."""
    size_bytes: int
    """With the layers that it shares with others."""

    @property
    def name(self) -> str:
        """Its tags, or the start of its id."""
        return ", ".join(self.tags) or self.id.removeprefix("sha256:")[:12]


def find_old(api: docker.APIClient) -> list[OldImage]:
    """List the lab's images that this checkout would not use now, and no container does; the newest first."""
    current = _current_tags(api)
    used = {str(container["ImageID"]) for container in api.containers(all=True)}
    found = []
    for image in sorted(_labelled(api), key=lambda image: -int(image["Created"])):
        tags = tuple(tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>")
        if not current.intersection(tags) and image["Id"] not in used:
            found.append(OldImage(id=str(image["Id"]), tags=tags, size_bytes=int(image["Size"])))
    return found


def remove_old(api: docker.APIClient, images: Iterable[OldImage]) -> dict[str, str]:
    """Remove images; return what remains: `image name` -> why. Gone already, or part of another image, is as good."""
    remains = {}
    for image in images:
        try:
            for name in image.tags or (image.id,):
                api.remove_image(name)  # never by force: an image in use stays
        except ImageNotFound:
            continue
        except APIError as refusal:
            if "dependent child images" not in str(refusal.explanation):
                remains[f"image {image.name}"] = str(refusal.explanation)
    return remains


def clean_images(tell: Callable[[OldImage], None], *, dry_run: bool) -> int:
    """Remove old images, telling of each before; return their number. Raises MachineLacks, TeardownIncomplete."""
    api = connect()
    old = find_old(api)
    for image in old:
        tell(image)
    if not dry_run:
        refuse_remains(remove_old(api, old))
    return len(old)


def _labelled(api: docker.APIClient) -> list[Mapping[str, Any]]:
    listed: list[Mapping[str, Any]] = api.images(filters={"label": [MARK]})
    return listed


def _current_tags(api: docker.APIClient) -> set[str]:
    """What a run of this checkout would look for."""
    base = os.environ.get("LAB_BASE") or TAG
    base_id = find_image(api, base)
    if base_id is None:
        return set()  # all the others would be built anew on another
    folders = (file.parent.name for file in (ROOT / "images").glob("*/Dockerfile"))
    return {TAG, base, *(f"wirelab/{name}:{digest(dict(context_files(ROOT, name)), base_id)}" for name in folders)}
