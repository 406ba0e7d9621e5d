"""YAML -> Scenario: every problem at once, each with file, line and key.

Goes in: a file and overrides (`--set fleet.connections=200`). Comes out: a validated Scenario, or ScenarioInvalid with
all that is wrong, in the order of the file. Nothing is guessed and nothing is dropped.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lab.errors import Problem, ScenarioInvalid
from lab.scenario.check import contradictions
from lab.scenario.check_matrix import matrix_contradictions
from lab.scenario.matrix import BadKey, Cell, cells, parse_path
from lab.scenario.part import PHASE_TAG, STEP_TAG, TAGS
from lab.scenario.schema import Scenario
from lab.scenario.yaml_positions import Document, dotted, read_yaml
from lab.scenario.yaml_positions import Path as KeyPath


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A scenario with where it came from."""

    name: str
    """The file's name without `.yaml`."""
    file: Path
    scenario: Scenario
    data: dict[str, Any]
    """The YAML as resolved: with the overrides, before units were parsed. What `scenario.yaml` of a run holds."""

    def to_yaml(self) -> str:
        """Return the resolved scenario as YAML that `lab run` takes."""
        return yaml.safe_dump(self.data, sort_keys=False, allow_unicode=True, width=120)


def load(file: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and validate a scenario.

    Raises ScenarioInvalid with every problem of the file and of the overrides.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioInvalid(Problem(file=str(file), line=1, key="", what=f"cannot be read: {error}")) from error
    document = read_yaml(text, str(file))
    if document.problems:
        raise ScenarioInvalid(*document.problems)
    if not isinstance(document.data, dict):
        what = f"not a scenario, got {type(document.data).__name__}; a mapping with title, hosts, server and fleet"
        raise ScenarioInvalid(Problem(file=str(file), line=1, key="", what=what))
    origins = _apply(document, overrides, str(file))
    scenario = _validate(document, str(file), origins)
    return Loaded(name=file.stem, file=file, scenario=scenario, data=document.data)


def _apply(document: Document, overrides: Sequence[str], file: str) -> dict[KeyPath, str]:
    """Set each `path=value` in the document's data; return which path came from which override."""
    origins: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    for override in overrides:
        text, equals, value_text = override.partition("=")
        path = parse_path(text.strip())
        if not equals or not path:
            what = f"not an override, got {override!r}; write path=value, e.g. fleet.connections=200"
            problems.append(Problem(file=file, line=1, key=f"--set {override}", what=what))
            continue
        try:
            value = yaml.safe_load(value_text)
        except yaml.YAMLError as error:
            what = f"not a YAML value, got {value_text!r}: {error}"
            problems.append(Problem(file=file, line=document.line_of(path), key=dotted(path), what=what))
            continue
        at: Any = document.data
        for depth, part in enumerate(path[:-1]):
            if isinstance(at, list) and isinstance(part, int) and part < len(at):
                at = at[part]
            elif isinstance(at, dict) and not isinstance(part, int):
                at = at.setdefault(part, {})
            else:
                at = None
            if not isinstance(at, dict | list):
                what = f"--set {override}: there is nothing at `{dotted(path[: depth + 1])}` to set a key in"
                problems.append(Problem(file=file, line=document.line_of(path), key=dotted(path), what=what))
                break
        else:
            last = path[-1]
            in_mapping = isinstance(at, dict) and isinstance(last, str)
            in_list = isinstance(at, list) and isinstance(last, int) and last < len(at)
            if not in_mapping and not in_list:
                what = f"--set {override}: no such item; there are {len(at)}"
                problems.append(Problem(file=file, line=document.line_of(path), key=dotted(path), what=what))
                continue
            container: Any = at
            container[last] = value
            origins[path] = override
    if problems:
        raise ScenarioInvalid(*problems)
    return origins


def _validate(document: Document, file: str, origins: dict[KeyPath, str]) -> Scenario:
    def problem(path: KeyPath, what: str, hint: str | None) -> Problem:
        for set_path, override in origins.items():
            if path[: len(set_path)] == set_path:
                what += f" (from --set {override})"
        return Problem(file=file, line=document.line_of(path), key=dotted(path), what=what, hint=hint)

    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        problems = [problem(*_explain(details)) for details in error.errors(include_url=False)]
        raise ScenarioInvalid(*sorted(problems, key=lambda p: p.line)) from None
    found = [problem(c.path, c.what, c.hint) for c in contradictions(scenario)]
    if not found:
        found = list(_series_problems(document.data, scenario, problem))
    if found:
        raise ScenarioInvalid(*sorted(found, key=lambda p: p.line))
    return scenario


def _series_problems(data: dict[str, Any], scenario: Scenario, problem: Callable[..., Problem]) -> Iterator[Problem]:
    """Yield what is wrong with the cells of a series: each must be a valid scenario."""
    try:
        found = cells(data)
    except BadKey as error:
        yield problem(error.place, str(error), None)
        return
    for contradiction in matrix_contradictions(scenario, found):
        yield problem(contradiction.path, contradiction.what, contradiction.hint)
    told: set[str] = set()
    for cell in found if scenario.matrix else ():
        for path, what, hint in _cell_problems(cell):
            text = f"{dotted(path)}: {what}"
            if text not in told:
                told.add(text)
                place = next((one for one in cell.places if one[1] == dotted(path)), cell.places[0])
                yield problem(place, f"in cell {cell.name}: {text}", hint)


def _cell_problems(cell: Cell) -> Iterator[tuple[KeyPath, str, str | None]]:
    try:
        scenario = Scenario.model_validate(cell.data)
    except ValidationError as error:
        yield from (_explain(details) for details in error.errors(include_url=False))
        return
    yield from ((c.path, c.what, c.hint) for c in contradictions(scenario))


def load_cell(loaded: Loaded, cell: Cell) -> Loaded:
    """Return one cell of a loaded series as a scenario of its own, under the series' name."""
    return Loaded(name=loaded.name, file=loaded.file, scenario=Scenario.model_validate(cell.data), data=dict(cell.data))


def _explain(details: ErrorDetails) -> tuple[KeyPath, str, str | None]:
    """Turn one pydantic error into path, what, hint, in the lab's words."""
    path: KeyPath = tuple(part for part in details["loc"] if not (isinstance(part, str) and part.startswith(TAGS)))
    kind, got, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        keys = sorted(_keys_at(details["loc"][:-1]))
        close = difflib.get_close_matches(str(path[-1]), keys, n=1)
        hint = f"did you mean `{close[0]}`?" if close else None
        return path, f"unknown key, got {path[-1]!r}; allowed: {', '.join(keys)}", hint
    if kind == "missing":
        return path, "missing; the key is required", None
    if kind == "union_tag_invalid":
        prefix = STEP_TAG if str(context["tag"]).startswith(STEP_TAG) else PHASE_TAG
        tag = str(context["tag"]).removeprefix(prefix)
        tags = [t.strip("' ").removeprefix(prefix) for t in str(context["expected_tags"]).split(",")]
        if prefix == STEP_TAG:
            close = difflib.get_close_matches(tag, tags, n=1)
            hint = f"did you mean `{close[0]}`?" if close else None
            return (*path, "do"), f"unknown step, got {tag!r}; allowed: {', '.join(tags)}", hint
        if tag.endswith("-load"):
            model = tag.removesuffix("-load")
            return (*path, "model"), f"unknown load model, got {model!r}; allowed: closed, open", None
        allowed = dict.fromkeys("load" if t.endswith("-load") else t for t in tags)
        return path, f"unknown phase, got {tag!r}; allowed: {', '.join(allowed)}", None
    if kind == "union_tag_not_found" and path[:1] == ("script",):
        return path, f"not a step, got {got!r}; a mapping with `do: connect`, listen, send, ..., phase", None
    if kind == "union_tag_not_found":
        return path, f"not a phase, got {got!r}; a mapping with `phase: connect`, hold, load, ..., drain", None
    if kind == "value_error":
        return path, str(context["error"]), None
    if kind == "string_pattern_mismatch":
        return path, f"not allowed, got {got!r}; it must match {context['pattern']}", None
    message = details["msg"][0].lower() + details["msg"][1:]
    shown = repr(got) if len(repr(got)) < 80 else repr(got)[:77] + "..."
    return path, f"{message}, got {shown}", None


def _keys_at(location: Sequence[str | int]) -> set[str]:
    """Return the keys that the part of the schema at a pydantic error location allows."""
    part: Any = Scenario
    for step in location:
        part = _step(part, step)
    if not (isinstance(part, type) and issubclass(part, BaseModel)):
        return set()
    return {field.alias or name for name, field in part.model_fields.items()}


def _step(part: Any, step: str | int) -> Any:
    """Follow one step of an error location through types: a field, a list item, a mapping's value, a union's tag."""
    if isinstance(part, type) and issubclass(part, BaseModel):
        fields = {field.alias or name: field for name, field in part.model_fields.items()}
        part = fields[str(step)].annotation
    elif isinstance(step, str) and step.startswith(TAGS):
        for choice in part.__args__ if hasattr(part, "__args__") else ():
            if any(getattr(meta, "tag", None) == step for meta in getattr(choice, "__metadata__", ())):
                part = choice
    elif hasattr(part, "__args__"):
        part = part.__args__[-1]
    while hasattr(part, "__metadata__"):
        part = part.__origin__
    if isinstance(part, types.UnionType) and part.__args__[-1] is types.NoneType:  # an optional part
        part = part.__args__[0]
    return part
