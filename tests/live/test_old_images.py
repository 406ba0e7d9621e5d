"""Images of earlier code go on request; what is current, in use or not the lab's stays."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator

import docker
import pytest
from docker.errors import ImageNotFound

from lab.engines.images import ensure_images
from lab.engines.old_images import find_old, remove_old


@pytest.fixture
def made(api: docker.APIClient) -> Iterator[dict[str, str]]:
    """Tag -> id of an old image of the lab's, and of an image that is like it but for the label."""
    base = ensure_images(api, ["host"], lambda _: None)["host"].tag
    mark = secrets.token_hex(6)
    tags = {f"wirelab/host:{mark}": "wirelab", f"stranger/host:{mark}": "no-lab"}
    ids = {}
    for tag, project in tags.items():
        text = f"FROM {base}\nLABEL wirelab.project={project} wirelab-test.mark={mark}\n"
        for step in api.build(fileobj=io.BytesIO(text.encode()), tag=tag, rm=True, forcerm=True, decode=True):
            assert "error" not in step, step
        ids[tag] = str(api.inspect_image(tag)["Id"])  # type: ignore[no-untyped-call]
    yield ids
    for tag in ids:
        try:
            api.remove_image(tag)
        except ImageNotFound:
            continue


def test_an_old_image_is_found_and_removed_and_no_other(api: docker.APIClient, made: dict[str, str]) -> None:
    current = ensure_images(api, ["host"], lambda _: None)["host"]
    old_tag, strangers_tag = made
    old = [image for image in find_old(api) if image.id in made.values()]

    assert [(image.name, image.id) for image in old] == [(old_tag, made[old_tag])]
    assert current.id not in {image.id for image in find_old(api)}
    assert remove_old(api, old) == {}
    with pytest.raises(ImageNotFound):
        api.inspect_image(old_tag)  # type: ignore[no-untyped-call]
    assert api.inspect_image(strangers_tag)["Id"] == made[strangers_tag]  # type: ignore[no-untyped-call]
    assert api.inspect_image(current.tag)["Id"] == current.id  # type: ignore[no-untyped-call]


def test_an_image_that_a_container_was_made_of_stays(api: docker.APIClient, made: dict[str, str]) -> None:
    old_tag = next(iter(made))
    container = api.create_container(old_tag, ["true"])["Id"]
    try:
        assert made[old_tag] not in {image.id for image in find_old(api)}
    finally:
        api.remove_container(container, force=True)
