"""The image that all others start from: Python 3.13 on Debian 13 (trixie), pulled, or built from Debian's packages.

Wanted is `python:3.13-slim-trixie`. Where no registry answers within a bound, the same Debian release is put together
here from its packages, whose python3 is 3.13 too, by mmdebstrap (as root or as an ordinary user) or debootstrap (root).
Either way the result is tagged `wirelab/base:<digest of this recipe>`: found there, nothing is pulled or built again.
`$LAB_BASE` names another image to start from.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import docker
from docker.errors import ImageNotFound

from lab.engines import Say, child, labels
from lab.errors import MachineLacks, RunFailed

OFFICIAL = "python:3.13-slim-trixie"
SUITE = "trixie"
PACKAGES = ("python3", "ca-certificates")
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
RECIPE = hashlib.sha256(repr((OFFICIAL, SUITE, PACKAGES, LEFT_OUT)).encode()).hexdigest()[:12]
TAG = f"wirelab/base:{RECIPE}"

PULL_ANSWER_S = 15.0
"""How long a registry may take to begin an answer; one that is cut off by a firewall never does."""
PULL_S = 600.0
BUILD_S = 1200.0

DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def ensure_base(api: docker.APIClient, say: Say) -> str:
    """Return the name of the base image, having pulled or built it where it is missing.

    Raises MachineLacks when it can neither be pulled nor built here.
    """
    if chosen := os.environ.get("LAB_BASE"):
        if find_image(api, chosen) is None and (reason := _pull(chosen)):
            raise MachineLacks(f"LAB_BASE={chosen}: {reason}", hint="unset LAB_BASE, or load that image first")
        return chosen
    if find_image(api, TAG):
        return TAG
    if find_image(api, OFFICIAL) is None:
        say(f"pulling {OFFICIAL}")
        reason = _pull(OFFICIAL)
        if reason is not None:
            say(f"{OFFICIAL} cannot be pulled: {reason}")
            _build_from_packages(api, say)
            return TAG
    repository, version = TAG.split(":")
    api.tag(OFFICIAL, repository, version)
    return TAG


def find_image(api: docker.APIClient, name: str) -> str | None:
    """Return the id of the image of that name; None if the engine has none."""
    try:
        return str(api.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return None


def image_id(api: docker.APIClient, name: str) -> str:
    """Return the id of an image that must be there. Raises RunFailed."""
    found = find_image(api, name)
    if found is None:
        raise RunFailed(f"image {name}: gone from the engine", hint="somebody removed it meanwhile; run again")
    return found


def _pull(name: str) -> str | None:
    """Pull an image; return why it could not be had, or None when it is here.

    The engine itself waits for a silent registry for minutes. So the first line of progress has a bound of its own.
    """
    if shutil.which("docker") is None:
        return "the `docker` command is not installed"
    with tempfile.TemporaryFile("w+") as talk:
        process = subprocess.Popen(
            ["docker", "pull", name], stdin=subprocess.DEVNULL, stdout=talk, stderr=talk, start_new_session=True
        )
        try:
            try:
                process.wait(timeout=PULL_ANSWER_S)
            except subprocess.TimeoutExpired:
                if "Pulling from" not in _text(talk):
                    return f"the registry did not answer within {PULL_ANSWER_S:.0f} s"
                process.wait(timeout=PULL_S)
        except subprocess.TimeoutExpired:
            return f"not complete after {PULL_S:.0f} s"
        finally:
            process.kill()
            process.wait()
        if process.returncode == 0:
            return None
        lines = _text(talk).strip().splitlines()
        return lines[-1] if lines else f"`docker pull` exited {process.returncode}"


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _build_from_packages(api: docker.APIClient, say: Say) -> None:
    tool = _bootstrap_tool()
    architecture = api.info()["Architecture"]
    if architecture != platform.machine():
        raise MachineLacks(
            f"base image: the engine's architecture is {architecture}, this machine's is {platform.machine()}; "
            "packages of another architecture cannot be unpacked here",
            hint=f"load {OFFICIAL} into the engine (`docker load`), or name a base image in LAB_BASE",
        )
    say(f"building the base image from Debian's packages instead, with {tool}: a minute or two, this once")
    with tempfile.TemporaryDirectory(prefix="wirelab-base-") as scratch:
        archive = Path(scratch) / "base.tar"
        words = _bootstrap_words(tool, Path(scratch), archive)
        ended = child.run(words, timeout_s=BUILD_S, if_lab_dies="TERM", environment={"TMPDIR": scratch})
        if ended.exit_code != 0:
            raise RunFailed(
                f"base image: {tool} failed\n{ended.last_lines()}",
                hint=f"look for the cause above (mirror, keyring, disk), or load {OFFICIAL} with `docker load`",
            )
        api.import_image(
            src=str(archive),
            repository=TAG.split(":")[0],
            tag=TAG.split(":")[1],
            changes=[f"LABEL {labels.PROJECT}={labels.PROJECT_NAME}", 'CMD ["python3"]'],
        )
    say(f"base image {TAG} is ready")


def _bootstrap_tool() -> str:
    """Choose what unpacks a Debian system here. Raises MachineLacks with the remedy."""
    if shutil.which("mmdebstrap"):
        return "mmdebstrap"
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") and os.geteuid() == 0:
        return "debootstrap"
    raise MachineLacks(
        f"base image: {OFFICIAL} cannot be pulled, and nothing here can build it from Debian's packages",
        hint=f"`apt-get install mmdebstrap`, or load {OFFICIAL} with `docker load`, or use --engine netns",
    )


def _bootstrap_words(tool: str, scratch: Path, archive: Path) -> list[str]:
    """Return the command that writes the Debian system as a tar archive."""
    mirror = debian_mirror(Path("/etc/apt"))
    packages = f"--include={','.join(PACKAGES)}"
    if tool == "mmdebstrap":
        excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
        return ["mmdebstrap", "--quiet", "--variant=minbase", packages, *excludes, SUITE, str(archive), *mirror]
    root = scratch / "root"
    unwanted = " ".join(f"--exclude=.{pattern}" for pattern in LEFT_OUT)
    bootstrap = f"debootstrap --variant=minbase {packages} {SUITE} {root} {' '.join(mirror)}"
    clean = f"rm -rf {root}/var/cache/apt/archives/*.deb {root}/var/lib/apt/lists/*"
    pack = f"tar --create --file={archive} --directory={root} --exclude=./dev/* --exclude=./proc/* {unwanted} ."
    return ["sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; set -ef; {bootstrap}; set +f; {clean}; set -f; {pack}"]


def debian_mirror(apt: Path) -> list[str]:
    """Return the Debian mirror this machine's own apt uses, if it names one; the tools' default serves otherwise."""
    files = [apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))]
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            for line in file.read_text(errors="replace").splitlines():
                if found := re.match(r"(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(https?://\S+/debian)/?(?:\s|$)", line):
                    return [found[1]]
    return []
