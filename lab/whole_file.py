"""Writing a file whole or not at all: under another name first, then renamed.

Whoever reads meanwhile sees the old file or the new one, and a crash leaves no half of one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> Path:
    """Store `text` at `path` (UTF-8), in a folder that is there; return the path."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path


def write_json_whole(path: Path, data: Any) -> Path:
    """Store `data` as JSON at `path`, as all of the lab's files have it."""
    return write_whole(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
