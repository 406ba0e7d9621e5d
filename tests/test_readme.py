"""What the README tells a reader to type exists, and what it shows is what the lab prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from lab.__main__ import app
from lab.scenario.load import load

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.M | re.S)
TYPED = [
    line.removeprefix("$ ").partition(" #")[0].strip()
    for _language, block in BLOCKS
    for line in block.splitlines()
    if re.match(r"(\$ )?(lab|make) ", line)
]
INLINE = re.findall(r"`((?:lab|make) [^`]+)`", README)
COMMANDS = sorted({*TYPED, *INLINE})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_exists_with_its_options(command: str) -> None:
    program, verb, *rest = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{re.escape(verb)}:.*## ", (PROJECT / "Makefile").read_text(), re.M), verb
        return
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    options = {name for parameter in group.commands[verb].params for name in parameter.opts}
    own = rest[: rest.index("--")] if "--" in rest else rest
    assert {word.partition("=")[0] for word in own if word.startswith("--")} <= options


def test_every_scenario_that_the_readme_runs_is_in_the_catalogue() -> None:
    asked = {m for command in COMMANDS for m in re.findall(r"NAME=([\w-]+)", command)}
    assert asked
    assert asked <= {path.stem for path in (PROJECT / "scenarios").glob("*.yaml")}


def test_the_scenario_that_the_readme_writes_is_valid(tmp_path: Path) -> None:
    texts = [block for language, block in BLOCKS if language == "yaml" and "title" in yaml.safe_load(block)]
    assert texts
    for text in texts:
        (tmp_path / "mine.yaml").write_text(text)
        assert load(tmp_path / "mine.yaml").scenario.expect


@pytest.mark.parametrize("target", ["scenario", "plan", "up"])
def test_make_passes_an_engine_on_that_was_typed_and_no_other(target: str) -> None:
    def shown(*words: str) -> str:
        command = ["make", "--dry-run", "--no-print-directory", "-o", "requirements.lock", target, "NAME=x", *words]
        environment = {"PATH": os.environ["PATH"], "ENGINE": "v8"}
        return subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]

    assert "--engine netns" in shown("ENGINE=netns")
    assert "--engine" not in shown()
