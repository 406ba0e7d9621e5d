"""A server that joins and cuts messages wrongly is caught by the ledger: run through the lab on netns, bug and all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from engine_lab import facts_or_skip

PROJECT = Path(__file__).parents[2]
# While the handler is at one message (it takes 5 ms) the next ones pile up: a recv then finds several.
SCENARIO = """\
title: A hundred bytes, framed
hosts: {{server: {{}}, client: {{}}}}
server: {{model: threads, port: 9000, handler: "block:5ms", recv_size: {recv_size}}}
fleet:
  connections: 2
  message: {{size: 100B, framing: length}}
  phases:
    - {{phase: connect}}
    - {{phase: load, model: closed, duration: 200ms, pipeline: {pipeline}}}
    - {{phase: drain}}
boundaries: 2
capture:
  - {{host: client}}
  - {{host: server}}
expect:
  - {{what: boundaries.misread, at: server, equal: 0}}
"""


def run(folder: Path, command: str, *, recv_size: str, pipeline: int) -> tuple[int, dict[str, Any], pl.DataFrame]:
    """Run the scenario; return exit code, the expectation on misread messages, and the messages to the server."""
    folder.mkdir()
    (folder / "framed.yaml").write_text(SCENARIO.format(recv_size=recv_size, pipeline=pipeline))
    done = subprocess.run(
        [sys.executable, "-m", command, "run", "framed.yaml", "--engine", "netns", "--quiet"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    result = folder / "runs" / "framed" / "latest"
    assert result.exists(), done.stderr
    (expectation,) = json.loads((result / "verdict.json").read_text())["expectations"]
    messages = pl.read_parquet(result / "tables" / "messages.parquet")
    return done.returncode, expectation, messages.filter(pl.col("receiver") == "server")


@pytest.mark.live  # a whole run more; the daily tests have the one that matters
def test_a_right_server_is_not_caught(tmp_path: Path) -> None:
    facts_or_skip("netns")
    code, misread, messages = run(tmp_path / "right", "lab", recv_size="50B", pipeline=4)
    assert (code, misread["observed"]) == (0, 0), misread
    assert messages["taken_whole"].all()
    assert messages.height >= 8


def test_a_server_that_takes_a_recv_for_a_message_is_caught(tmp_path: Path) -> None:
    facts_or_skip("netns")
    code, misread, messages = run(tmp_path / "planted", "tests.contract.planted_lab", recv_size="150B", pipeline=4)
    assert (code, misread["verdict"]) == (1, "fail")
    wrong = messages.filter(~pl.col("taken_whole"))
    assert misread["observed"] == wrong.height > 0
    ways = set(wrong["recv_class"].drop_nulls())
    assert any("coalesced" in way for way in ways), "a recv brought the next one's start too"
    assert any("split" in way for way in ways), "a recv of 150 bytes ended inside a message of 104"
