"""All benchmarks one after the other, each figure beside what is to be reached, and the charts of README.md.

    make bench                                             run them all
    .venv/bin/python -m benchmarks --million --keep FILE   with a million connections too; keep the lines
    .venv/bin/python -m benchmarks --of FILE --charts DIR  the table and the charts of lines that were kept

What the programs print, JSON, a line a comparison, goes to stdout as it comes. The table at the end goes to stderr:
what was measured, what is to be reached (`REACH`), and whether it is. A program that fails is named there, the others
run on, and the exit code is 1; a figure that is not reached is no failure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import scale  # noqa: E402 - the project need not be installed
from benchmarks.bars import Bar, bars  # noqa: E402
from lab import units  # noqa: E402
from lab.report.chart import linear, logarithmic  # noqa: E402

PROGRAMS = ("server_and_fleet", "connect_rate", "capture", "analysis", "overhead", "scale")
REACH = {"capture": 1.2, "memory": 5e6, "parquet": 2e6, "tshark": 200.0, "tcptrace": 20.0, "100k_s": 10.0, "1m_s": 60.0}
"""What is to be reached, where the line itself does not say: a share of tcpdump's processor time, packets a second,
times as fast as tshark and tcptrace, seconds."""

VERDICT = {True: "reached", False: "NOT reached", None: ""}

Line = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure beside what is to be reached."""

    what: str
    measured: str
    reach: str
    reached: bool | None
    """None: nothing is asked of it."""


def run_all(*, million: bool) -> Iterator[str]:
    """Run the programs; gives the lines they print, and one that says `failed` for a program that did not end well."""
    for name in PROGRAMS:
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--million"] if million and name == "scale" else [])]
        with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            yield from program.stdout
        if program.returncode:
            yield json.dumps({"benchmark": name, "failed": program.returncode}) + "\n"


def figures(lines: Sequence[Line]) -> list[Figure]:
    """What the lines say, beside what is to be reached."""
    return [figure for line in lines for figure in _figures_of(line)]


def _figures_of(line: Line) -> Iterator[Figure]:
    name = line["benchmark"]
    if "failed" in line:
        yield Figure(name, f"ended with {line['failed']}", "", False)
    elif name.endswith("against C"):
        yield _at_least(f"{name}, {line['order_in_c']}", line["ratio"], line["interval"], line["reach"])
    elif name.startswith("connect rate"):
        what = f"{units.show_count(line['opened'])} connections of one host open"
        reached = line["connect_s"] <= line["reach_s"] and not line["errors"]
        yield Figure(what, f"{line['connect_s']} s", f"at most {line['reach_s']:g} s", reached)
    elif name == "capture":
        for way, ratio in (("", line["cpu_ratio_to_tcpdump"]), (" by exec", line["cpu_ratio_to_tcpdump_by_exec"])):
            most = REACH["capture"]
            measured = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
            reached = ratio["median"] <= most if not way else None
            yield Figure(f"capture{way}: of tcpdump's CPU", measured, f"at most {most}" if not way else "", reached)
        lost = line["sidecar"]["lost_percent"]["max"]
        tail = min(line["sidecar"]["tail_of_500"])
        yield Figure("capture: lost; of the last 500", f"{lost} %; {tail}", "0 %; 500", lost == 0 and tail == 500)
    elif name == "analysis":
        for what in ("memory", "parquet"):
            rate = line[f"{what}_packets_per_s"]
            yield _at_least(f"analysis, {what}", rate, _rates(line, what), REACH[what], " packets/s")
        for tool in ("tshark", "tcptrace"):
            if line[f"times_{tool}"] is not None:
                interval = line[f"times_{tool}_interval"]
                yield _at_least(f"analysis, {tool}", line[f"times_{tool}"], interval, REACH[tool], " times as fast")
    elif name == "lab overhead":
        low, high = line["interval_s"]
        measured = f"{line['overhead_s']} s ({low} to {high})"
        most = line["reach_s"]
        yield Figure(
            f"{line['scenario']} with {line['engine']}: beside its traffic",
            measured,
            f"at most {most:g} s",
            line["overhead_s"] <= most,
        )
    elif name == "scale" and line["connections"] >= 100_000:
        most = REACH["1m_s" if line["connections"] >= 1_000_000 else "100k_s"]
        reached = line["connect_s"] <= most and line["verdict"] == "pass"
        what = f"{units.show_count(line['connections'])} connections open"
        yield Figure(what, f"{line['connect_s']} s, {line['verdict']}", f"at most {most:g} s, pass", reached)


def _rates(line: Line, subject: str) -> tuple[float, float]:
    """The interval of an analysis in packets a second."""
    least_s, most_s = line[f"{subject}_interval_s"]
    return line["packets"] / most_s, line["packets"] / least_s


def _at_least(what: str, value: float, interval: Sequence[float], least: float, unit: str = "") -> Figure:
    low, high = interval
    measured = f"{_short(value)}{unit} ({_short(low)} to {_short(high)})"
    return Figure(what, measured, f"at least {_short(least)}", value >= least)


def _short(value: float) -> str:
    if value >= 1e5:
        return f"{value / 1e6:.1f} M"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def table(rows: Sequence[Figure]) -> str:
    """The figures as text."""
    cells = [(row.what, row.measured, row.reach, VERDICT[row.reached]) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip() for row in cells
    )


def charts(lines: Sequence[Line]) -> dict[str, str]:
    """Draw what the lines have: file names with their SVG."""
    whole = [line for line in lines if "failed" not in line]
    of = {
        name: [line for line in whole if line["benchmark"] == name]
        for name in ("capture", "analysis", "lab overhead", "scale")
    }
    against = [line for line in whole if line["benchmark"].endswith("against C")]
    drawn = {}
    if against:
        drawn["against_c.svg"] = _draw_against_c(against)
    if of["capture"]:
        drawn["capture_loss.svg"], drawn["capture_cost.svg"] = _draw_capture(of["capture"][-1])
    if of["analysis"]:
        drawn["analysis.svg"] = _draw_analysis(of["analysis"][-1])
    if of["lab overhead"]:
        drawn["overhead.svg"] = _draw_overhead(of["lab overhead"])
    if of["scale"]:
        drawn["scale.svg"] = scale.draw(of["scale"])
    return drawn


def _draw_against_c(lines: Sequence[Line]) -> str:
    rows = []
    for line in sorted(lines, key=lambda line: str(line["benchmark"])):
        low, high = line["interval"]
        told = f"{line['ratio']:.2f} ({low:.2f} to {high:.2f})"
        name = f"{line['benchmark'].removesuffix(' against C')}, C {line['order_in_c']}"
        hue = {"server": "blue", "compiled-server": "violet"}.get(line["benchmark"].split()[0], "green")
        rows.append(Bar(name=name, value=line["ratio"], low=low, high=high, told=told, hue=hue))
    axis = linear(1.2, "requests a second, of what C does on the same path", lambda value: f"{value:g}")
    return bars("Beside C", rows, axis, marks=[(lines[0]["reach"], f"{lines[0]['reach']} asked")])


RECORDERS = {
    "sidecar": ("sidecar", "blue"),
    "sidecar_by_exec": ("sidecar by exec", "blue"),
    "tcpdump": ("tcpdump -s 128", "green"),
    "scapy": ("scapy AsyncSniffer", "violet"),
}


def _draw_capture(line: Line) -> tuple[str, str]:
    """What each recorder lost, and the processor time it took."""
    loss, cost = [], []
    for key, (name, hue) in RECORDERS.items():
        if key in line:
            lost, cpu = line[key]["lost_percent"], line[key]["cpu_ms"]
            tail = statistics.median(line[key]["tail_of_500"])
            told = f"{lost['median']:.1f} %; {tail:.0f} of the last 500"
            loss.append(Bar(name=name, value=lost["median"], low=lost["min"], high=lost["max"], told=told, hue=hue))
            told = f"{cpu['median']:.0f} ms ({cpu['min']:.0f} to {cpu['max']:.0f})"
            cost.append(Bar(name=name, value=cpu["median"], low=cpu["min"], high=cpu["max"], told=told, hue=hue))
    percent = linear(100, "percent of the packets that passed", lambda value: f"{value:g}")
    most = max(row.value for row in cost)
    ms = logarithmic(
        10, most, "ms of processor time, all of it: arming, recording, writing", lambda value: f"{value:g}"
    )
    tcpdump = line["tcpdump"]["cpu_ms"]["median"] * REACH["capture"]
    return (
        bars("Ten thousand echo connections: what is lost", loss, percent),
        bars("The same: what recording costs", cost, ms, marks=[(tcpdump, "1.2 of tcpdump's")]),
    )


def _draw_analysis(line: Line) -> str:
    names = {
        "memory": ("lab, into memory", "blue"),
        "parquet": ("lab, Parquet written", "blue"),
        "tcptrace": ("tcptrace -l -r", "green"),
        "tshark": ("tshark -2", "violet"),
    }
    rows = []
    for key, (name, hue) in names.items():
        if f"{key}_s" in line:
            value = line[f"{key}_packets_per_s"]
            low, high = _rates(line, key)
            told = f"{units.show_count(round(value, -3))} packets/s"
            rows.append(Bar(name=name, value=value, low=low, high=high, told=told, hue=hue))
    axis = logarithmic(10_000, 10_000_000, "packets a second, from file to tables", units.show_count)
    packets, connections = units.show_count(line["packets"]), units.show_count(line["connections"])
    title = f"Analysis of {packets} packets in {connections} connections"
    return bars(title, rows, axis, marks=[(REACH["parquet"], "2 M asked"), (REACH["memory"], "5 M")])


STAGES = {
    "the command starts": ("start", "plan", "prepare"),
    "hosts, programs come up": ("up", "ready"),
    "messages and closing": ("traffic",),
    "analysis": ("analysis",),
    "the end, hosts removed": ("drain", "collect", "down"),
}


def _draw_overhead(lines: Sequence[Line]) -> str:
    rows = []
    for line, hue in zip(lines, ("blue", "green"), strict=False):
        low, high = line["interval_s"]
        told = f"{line['overhead_s']:.1f} s ({low:.1f} to {high:.1f}); {line['reach_s']:g} asked"
        rows.append(
            Bar(name=f"{line['engine']}, all", value=line["overhead_s"], low=low, high=high, told=told, hue=hue)
        )
        for name, stages in STAGES.items():
            value = sum(line["stages_s"][stage] for stage in stages)
            value -= line["stages_s"]["asked"] if "traffic" in stages else 0
            rows.append(Bar(name=name, value=value, told=f"{value:.1f} s", hue=hue))
    most = max(row.high or row.value for row in rows)
    axis = linear(most, "seconds beside the traffic that the scenario asks for", lambda value: f"{value:g}")
    return bars(f"Whole runs of {lines[0]['scenario']}; some stages go on side by side", rows, axis)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--million", action="store_true", help="a run of epoll-1m too: some 13 GiB of memory")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the lines here as well")
    parser.add_argument("--of", type=Path, metavar="FILE", help="run nothing; take the lines that were kept here")
    parser.add_argument("--charts", type=Path, metavar="DIR", help="write the charts here, as SVG")
    given = parser.parse_args()
    texts: list[str] = []
    for text in given.of.open() if given.of else run_all(million=given.million):
        print(text, end="", flush=True)
        texts.append(text)
    if given.keep:
        given.keep.write_text("".join(texts))
    lines = [json.loads(text) for text in texts]
    print(f"\n{table(figures(lines))}", file=sys.stderr)
    if given.charts:
        for name, drawn in charts(lines).items():
            (given.charts / name).write_text(drawn + "\n")
    sys.exit(any("failed" in line for line in lines))


if __name__ == "__main__":
    main()
