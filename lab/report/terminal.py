"""A run's or a series' summary as text for one terminal: its width, and colours where it shows them."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from lab.report.comparison import TABLE_WIDTH, series_summary
from lab.report.text import summary

SERIES = "series.json"
"""What tells a series' folder from a run's."""
NARROW, WIDE = 80, 120
"""Between these a summary follows the terminal's width: narrower, tables break; wider, lines are hard to read."""


def rendered(folder: Path, *, width: int, color: bool) -> str:
    """Return the summary of a run or a series, laid out for a terminal `width` columns wide."""
    series = (folder / SERIES).is_file()
    width = max(TABLE_WIDTH, width) if series else max(NARROW, min(width, WIDE))
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=color, highlight=False, legacy_windows=False)
    console.print(series_summary(folder) if series else summary(folder, width=width))
    return out.getvalue()
