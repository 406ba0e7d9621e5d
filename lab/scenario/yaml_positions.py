"""YAML with the line of every key: plain data beside a map from path to line.

Reads with PyYAML's safe loader only; a duplicate key is a problem, not a silent override.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from lab.errors import Problem
from lab.libyaml import LOADER

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A YAML file as plain data, with the line (1-based) of each key and list item."""

    data: Any
    lines: dict[Path, int]
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """Return the line of `path`, or of its nearest parent that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def dotted(path: Path) -> str:
    """Write a path as people do: `fleet.phases[2].duration`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_yaml(text: str, file: str) -> Document:
    """Read one YAML document. What is wrong comes back in `problems` (with `data` None if it is no YAML at all)."""
    lines: dict[Path, int] = {}
    problems: list[Problem] = []
    loader = LOADER(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            _walk(root, (), lines, problems, file)
        data = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        what = f"not YAML: {error.problem or error.context}"
        return Document(data=None, lines={}, problems=[Problem(file=file, line=line, key="", what=what)])
    except yaml.reader.ReaderError as error:
        what = f"not YAML: {error.reason} at character {error.position}"
        return Document(data=None, lines={}, problems=[Problem(file=file, line=1, key="", what=what)])
    finally:
        loader.dispose()
    return Document(data=data, lines=lines, problems=problems)


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem], file: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node.start_mark)
            child = (*path, key)
            line = key_node.start_mark.line + 1
            if child in lines:
                what = f"given twice, first at line {lines[child]}; a key stands once"
                problems.append(Problem(file=file, line=line, key=dotted(child), what=what))
            lines[child] = line
            _walk(value_node, child, lines, problems, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), lines, problems, file)
