"""Writing a file whole or not at all: under another name first, then renamed.

Whoever reads meanwhile sees the old file or the new one, and a crash leaves no half of one.
"""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Store `text` at `path` (UTF-8), in a folder that is there; return the path."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path
