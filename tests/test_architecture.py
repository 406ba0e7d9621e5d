"""The shape of the code: who may import whom, and what is generated is fresh."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from lab.scenario.json_schema import json_schema_text
from lab.scenario.load import load
from lab.scenario.schema import TOPICS, Topic

PROJECT = Path(__file__).resolve().parent.parent
LAB = PROJECT / "lab"

LEAVES = {"errors", "units", "measures", "libyaml", "whole_file", "inside"}
"""What anybody may import. `inside` itself imports nothing else of the lab."""

ALLOWED = {
    "inside": set(),
    "errors": set(),
    "units": set(),
    "measures": set(),
    "libyaml": set(),
    "whole_file": set(),
    "scenario": set(),
    "topology": {"scenario"},
    "engines": {"topology"},
    "store": set(),
    "progress": set(),
    "manifest": {"scenario", "topology", "store"},
    "hearing": {"engines", "progress", "store"},
    "session": {"scenario", "topology", "engines", "hearing", "manifest", "progress", "store"},
    "series": {"scenario", "topology", "engines", "manifest", "progress", "store", "session"},
    "analysis": set(),
    "verdict": {"analysis"},
    "report": {"analysis", "verdict"},
    "layers": {"analysis", "report"},
    "results": {"analysis", "verdict", "report"},
}
"""What each part may import beyond itself and the leaves; only the command and its helpers see both halves."""


def imports(file: Path) -> set[str]:
    """Return the parts of the lab that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("lab.")}
    return found - {"__version__"}


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_lies_before_it(part: str) -> None:
    place = LAB / part
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    allowed = ALLOWED[part] | {part} | (set() if part == "inside" else LEAVES)
    wrong = {str(f.relative_to(LAB)): bad for f in files if (bad := imports(f) - allowed)}
    assert wrong == {}


def test_the_code_map_names_every_part_and_nothing_that_is_not_there() -> None:
    text = (LAB / "README.md").read_text()
    code_map = text.partition("## Code map")[2].partition("## Invariants")[0]
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", code_map))
    parts = {p.name + ("/" if p.is_dir() else "") for p in LAB.iterdir() if not p.name.startswith(("__init__", "__py"))}
    assert parts - named == {"README.md"}
    assert [name for name in named if not (LAB / name).exists() and not list(LAB.glob(f"*/{name}"))] == []


def test_the_json_schema_in_the_tree_is_the_one_the_types_give() -> None:
    stored = (PROJECT / "scenarios" / "scenario.schema.json").read_text()
    assert stored == json_schema_text(), "stale: run `make schema`"
    assert json.loads(stored)["properties"]["fleet"]


@pytest.mark.parametrize("file", sorted((PROJECT / "scenarios").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_scenario_of_the_catalogue_is_valid_and_teaches(file: Path) -> None:
    scenario = load(file).scenario
    assert file.read_text().startswith("# yaml-language-server: $schema=scenario.schema.json\n")
    assert len(scenario.lesson.split()) >= 30
    assert scenario.expect


def test_listing_loads_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv = ['lab', 'list']\n"
        "from lab.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numba', 'polars', 'scapy', 'docker', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "epoll-10k" in done.stdout


@pytest.mark.parametrize("file", sorted((PROJECT / "scenarios").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_scenario_of_the_catalogue_stands_under_a_topic(file: Path) -> None:
    assert load(file).scenario.topic in TOPICS


def test_topics_have_their_headings_in_the_order_of_a_course() -> None:
    assert get_args(Topic) == tuple(TOPICS)
