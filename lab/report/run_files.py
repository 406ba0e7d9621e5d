"""A run folder read for telling: whatever is there, and the names of what is missing.

In: a run folder, whole or not. Out: `RunFiles`. Numbers come from `lab.verdict.observe`, so that the summary, the
report and the verdict can never tell different ones. What a run did not leave is None and its name stands in
`missing`; nothing that is missing is ever told as 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lab.report.packet_list import FRAME_COLUMNS, PACKET_COLUMNS, with_frames
from lab.report.steps import KIND, Endpoint, Step, Typical, choose_typical, steps
from lab.verdict.observe import Evidence, observe


@dataclass(frozen=True, kw_only=True)
class Example:
    """The connection drawn as a ladder."""

    typical: Typical
    host: str
    """The vantage: the host whose capture it was taken from."""
    orig: Endpoint
    resp: Endpoint
    steps: list[Step]


@dataclass(kw_only=True)
class RunFiles:
    """One run folder."""

    folder: Path
    manifest: dict[str, Any]
    topology: dict[str, Any]
    verdict: dict[str, Any]
    evidence: Evidence | None
    """None where manifest or topology is missing."""
    missing: list[str] = field(default_factory=list)
    """What should be in the folder and is not, or cannot be read: `verdict.json`, `tables/connections.parquet: ...`."""

    @classmethod
    def read(cls, folder: Path) -> RunFiles:
        """Read a run folder."""
        missing: list[str] = []
        files = {name: _json(folder, f"{name}.json", missing) for name in ("manifest", "topology", "verdict")}
        evidence = None
        if files["manifest"] and files["topology"]:
            try:
                evidence = Evidence.read(folder)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                missing.append(f"the programs' results: {_reason(error)}")
        run = cls(folder=folder, evidence=evidence, missing=missing, **files)
        if evidence is not None:
            missing += [f"hosts/{host}/fleet.json" for host, result in evidence.fleets.items() if not result]
            missing += [f"hosts/{host}/capture.json" for host, result in evidence.captures.items() if not result]
            if run.has_server and not evidence.server:
                missing.append(f"hosts/{evidence.manifest['server_host']}/server.json")
        return run

    @property
    def has_server(self) -> bool:
        """Whether the scenario has a server; a scripted lesson may do without."""
        return "server" in self.manifest

    @property
    def shown_folder(self) -> str:
        """The folder as a user of this checkout writes it."""
        parts = self.folder.absolute().parts[-3:]
        return "/".join(parts) if parts[0] == "runs" else str(self.folder)

    @property
    def vantages(self) -> list[str]:
        """The captured hosts, the server's first."""
        if self.evidence is None:
            return []
        return sorted(self.evidence.captures, key=lambda host: (host != self.manifest.get("server_host"), host))

    def observed(self, what: str, at: str = "") -> float | None:
        """Return a measure's value; None where the run left no number for it."""
        if self.evidence is None:
            return None
        try:
            return observe(what, at or self.manifest["server_host"], self.evidence).value
        except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
            self._miss(f"{what}: {_reason(error)}")
            return None

    def server(self, *path: str) -> Any:
        """Return what the server's result says under the keys of `path`; None if it does not."""
        value: Any = self.evidence.server if self.evidence is not None else {}
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def table(self, name: str, columns: Sequence[str], host: str | None = None) -> pl.DataFrame | None:
        """Read those of the columns that the table has (`host`: the rows of that vantage only); None without a table.

        A run of a million connections has a hundred columns of them: nobody should read more than is told.
        """
        lazy = self.scan(name, host)
        try:
            if lazy is None:
                return None
            there = lazy.collect_schema().names()
            return lazy.select([column for column in columns if column in there]).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            self._miss(f"tables/{name}.parquet: {_reason(error)}")
            return None

    def scan(self, name: str, host: str | None = None) -> pl.LazyFrame | None:
        """Open one table without reading it; None where there is none."""
        path = self.folder / "tables" / f"{name}.parquet"
        if not path.exists():
            self._miss(f"tables/{name}.parquet")
            return None
        lazy = pl.scan_parquet(path)
        return lazy if host is None else lazy.filter(pl.col("host") == host)

    def example(self) -> Example | None:
        """Find the typical connection, as the server's host saw it; None where no connection was captured."""
        for host in self.vantages:
            kinds = self.table("connections", ["id", "duration_ns", *KIND], host)
            if kinds is None or kinds.is_empty():
                continue
            chosen = choose_typical(kinds)
            try:
                row, walked = self.connection(host, chosen.connection)
            except (OSError, KeyError, pl.exceptions.PolarsError) as error:
                self._miss(f"tables/packets.parquet: {_reason(error)}")
                continue
            orig, resp = self.endpoints(row)
            return Example(typical=chosen, host=host, orig=orig, resp=resp, steps=walked)
        return None

    def first_packets(self, most: int) -> tuple[str, list[dict[str, Any]], int]:
        """Return the first packets that a host captured, for a run without a connection to draw: the host, a row a
        packet (`packet_list.py`), and how many it captured.
        """
        for host in self.vantages:
            found = self._first_packets(host, most)
            if found is not None:
                return host, *found
        return "", [], 0

    def _first_packets(self, host: str, most: int) -> tuple[list[dict[str, Any]], int] | None:
        packets = self.scan("packets", host)
        try:
            if packets is None or not set(PACKET_COLUMNS) <= set(packets.collect_schema().names()):
                return None
            count = int(packets.select(pl.len()).collect().item())
            rows = packets.select(PACKET_COLUMNS).head(most).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            self._miss(f"tables/packets.parquet: {_reason(error)}")
            return None
        frames = None
        if (self.folder / "tables" / "frames.parquet").exists():  # long captures have none
            frames = self.table("frames", FRAME_COLUMNS, host)
        return (with_frames(rows, frames), count) if count else None

    def connection(self, host: str, connection: int) -> tuple[dict[str, Any], list[Step]]:
        """Return one connection as one vantage saw it: its row of the connections table, and its steps.

        Raises OSError (no table), KeyError (no such connection).
        """
        tables = self.folder / "tables"
        rows = pl.scan_parquet(tables / "connections.parquet").filter(
            (pl.col("host") == host) & (pl.col("id") == connection)
        )
        found = rows.collect().to_dicts()
        if not found:
            raise KeyError(f"connection {connection} at {host}")
        packets = pl.scan_parquet(tables / "packets.parquet").filter(
            (pl.col("host") == host) & (pl.col("connection") == connection)
        )
        return found[0], steps(packets.collect(), connection, found[0])

    def endpoints(self, row: Mapping[str, Any]) -> tuple[Endpoint, Endpoint]:
        """Name both ends of a row of the connections table, by the hosts that have the addresses."""
        return self.endpoint(row["orig_addr"], row["orig_port"]), self.endpoint(row["resp_addr"], row["resp_port"])

    def endpoint(self, address: str, port: int) -> Endpoint:
        """Name one end of a connection by the host that has the address, or makes its segments by hand."""
        names = {
            interface["address"]: host["name"]
            for host in self.topology.get("hosts", ())
            for interface in host["interfaces"]
        }
        return Endpoint(host=(names | self._made_by_hand()).get(address, ""), address=address, port=port)

    @property
    def names(self) -> dict[str, str]:
        """Who has an IP or Ethernet address: the hosts' names by both."""
        found: dict[str, str] = {}
        for host in self.topology.get("hosts", ()):
            found |= {interface["address"]: host["name"] for interface in host["interfaces"]}
            keeper = self.folder / "hosts" / host["name"] / "host.json"
            if keeper.exists():
                interfaces = json.loads(keeper.read_text()).get("interfaces", {})
                found |= {one["mac"]: host["name"] for name, one in interfaces.items() if name != "lo" and one["mac"]}
        return found | self._made_by_hand()

    def _made_by_hand(self) -> dict[str, str]:
        """Return the addresses that no kernel owns, each with the host whose crafter speaks for it."""
        crafters = [program for program in self.topology.get("programs", ()) if program["role"] == "crafter"]
        plans = [json.loads(crafter["arguments"][1]) for crafter in crafters]
        return {plan["address"]: f"{plan['name']} (by hand)" for plan in plans}

    def _miss(self, what: str) -> None:
        if what not in self.missing:
            self.missing.append(what)


def _json(folder: Path, name: str, missing: list[str]) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        missing.append(name)
    except (OSError, ValueError) as error:
        missing.append(f"{name}: {_reason(error)}")
    return {}


def _reason(error: Exception) -> str:
    """The first line of an error, with what it is where the message alone does not tell (KeyError: 'usage')."""
    first = str(error).splitlines()[0] if str(error) else ""
    return f"no {first}" if isinstance(error, KeyError) else first or type(error).__name__
