"""Captures in, tables out: what every packet, connection and flow of capture files was, and how sure that is.

    analysis = analyze([Path("server.pcapng")])
    analysis.connections          # polars DataFrame; columns in `tables.py`
    analysis.packets()            # one row a frame
    write_parquet(analysis, Path("tables"))

Works on any pcap or pcapng, the lab's own or anybody's. Touches no Docker, no socket, no clock. A file that is cut or
damaged is analysed up to there; `Analysis.errors` has the reason. The loops are compiled by numba at the first call
on a machine; importing this package loads neither numba nor polars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from lab.analysis.cells import Rows
    from lab.analysis.parquet import Part
    from lab.analysis.survey import Records, Survey
    from lab.errors import CaptureFileBroken

__all__ = ["Analysis", "analyze", "write_parquet", "write_vantages"]

KEPT_PACKETS = 1_200_000
"""Packets whose columns are kept in memory (about 110 MiB); a longer capture is read again for its packets table."""
LARGEST_IN_MEMORY_AGAIN = 8 << 20
"""Bytes of one array of the state that a second pass over a capture keeps in memory."""
ROWS_AT_ONCE = 1 << 16
PACKET_ROWS_AT_ONCE = 1 << 17
ROWS_AGAIN = 1 << 15
"""The same of a capture too long to keep, where memory counts."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What capture files say. Tables are made when first asked for."""

    paths: tuple[Path, ...]
    originators: tuple[str, ...]
    _survey: Survey = field(repr=False)
    _kept: tuple[Records, ...] | None = field(repr=False)
    """The columns of all packets; None where they were too many."""

    @property
    def packet_count(self) -> int:
        """Packets read from all files."""
        return self._survey.packets

    @property
    def errors(self) -> tuple[CaptureFileBroken, ...]:
        """Files that could not be read to their end, in their order; what came before is in the tables."""
        return tuple(self._survey.errors)

    @cached_property
    def captures(self) -> pl.DataFrame:
        """One row an interface of a file: packets, times, drop counters, error."""
        import polars as pl

        from lab.analysis import tables

        rows = [
            {
                "capture": number,
                "file": str(record.file),
                "interface": record.interface.name,
                "link_type": record.interface.linktype,
                "snaplen": record.interface.snaplen or None,
                "filter": record.interface.filter,
                "packets": record.packets,
                "first_ns": record.first_ns,
                "last_ns": record.last_ns,
                "received": record.interface.received,
                "dropped": record.interface.dropped,
                "began_ns": record.interface.began_ns,
                "ended_ns": record.interface.ended_ns,
                "error": None if record.error is None else str(record.error),
            }
            for number, record in enumerate(self._survey.captures)
        ]
        return pl.DataFrame(rows, schema=tables.schema(tables.CAPTURES))

    @cached_property
    def connections(self) -> pl.DataFrame:
        """One row a TCP connection, in the order they were opened."""
        import polars as pl

        from lab.analysis import cells, tables

        if not self._connection_count:
            return pl.concat(self.connection_chunks())
        with ThreadPoolExecutor() as pool:
            return pl.concat(
                pool.map(lambda part: cells.frame(part(), tables.CONNECTION_COLUMNS), self._connection_parts())
            )

    def connection_chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the connections table in parts, at least one."""
        import polars as pl

        from lab.analysis import cells, tables

        for part in self._connection_parts():
            yield cells.frame(part(), tables.CONNECTION_COLUMNS)
        if not self._connection_count:
            yield pl.DataFrame(schema=tables.schema(tables.CONNECTION_COLUMNS))

    def _connection_parts(self) -> Iterator[Part]:
        """Yield what makes the connections table, part by part."""
        count = self._connection_count
        parts = -(-count // (ROWS_AGAIN if self._kept is None else ROWS_AT_ONCE))
        edges = [count * part // parts for part in range(parts + 1)] if parts else []
        for first, end in pairwise(edges):
            yield partial(self._connection_rows, first, end - first)
            self._survey.spill.forget()

    @property
    def _connection_count(self) -> int:
        from lab.analysis.state import CONNECTIONS

        return int(self._survey.state.counts[CONNECTIONS])

    def _connection_rows(self, first: int, count: int) -> Rows:
        """The rows of so many connections from this one."""
        import numpy as np

        from lab.analysis import rows

        lossy = np.array([bool(record.interface.dropped) for record in self._survey.captures], np.bool_)
        return rows.connection_rows(self._survey.state, first, count, lossy, self._addresses)

    @cached_property
    def flows(self) -> pl.DataFrame:
        """One row a UDP or ICMP exchange, in the order of their first packets."""
        from lab.analysis import cells, rows, tables

        return cells.frame(rows.flow_rows(self._survey.state, self._addresses), tables.FLOWS)

    @cached_property
    def frames(self) -> pl.DataFrame | None:
        """One row an Ethernet frame; None where there are more frames than a lesson about them has."""
        from lab.analysis import frames

        return frames.read_frames(self.paths) if self.packet_count <= frames.MOST_FRAMES else None

    def packets(self) -> pl.DataFrame:
        """One row a frame, in the order of the files. Holds them all: some 150 bytes a packet."""
        import polars as pl

        from lab.analysis import cells, tables

        if not self._kept:
            parts = list(self.packet_chunks())
        else:
            index = list(accumulate((chunk.size for chunk in self._kept), initial=0))
            self._ends  # noqa: B018 - not by one of those below while the others wait
            with ThreadPoolExecutor() as pool:
                parts = list(
                    pool.map(lambda *part: cells.frame(self._packet_rows(*part), tables.PACKETS), self._kept, index)
                )
        return pl.concat(parts, rechunk=False)

    def packet_chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the packets table in parts, at least one, in order; bounded memory whatever the number of packets."""
        import polars as pl

        from lab.analysis import cells, tables

        for part in self._packet_parts():
            yield cells.frame(part(), tables.PACKETS)
        if not self.packet_count:
            yield pl.DataFrame(schema=tables.schema(tables.PACKETS))

    def _packet_parts(self) -> Iterator[Part]:
        """Yield what makes the packets table, part by part."""
        from lab.analysis.spill import Spill
        from lab.analysis.survey import survey

        chunks: Iterator[Records]
        # A second pass leaves memory to the tables: it is known to be a long one.
        again = Spill(LARGEST_IN_MEMORY_AGAIN)
        chunks = (
            survey(self.paths, self.originators, spill=again, chunk_packets=ROWS_AGAIN)[1]
            if self._kept is None
            else iter(self._kept)
        )
        index = 0
        for chunk in chunks:
            for first in range(0, chunk.size, PACKET_ROWS_AT_ONCE):
                part = chunk[first : first + PACKET_ROWS_AT_ONCE]
                yield partial(self._packet_rows, part, index)
                index += part.size
            self._survey.spill.forget()

    def _packet_rows(self, chunk: Records, index: int) -> Rows:
        """The rows of one chunk, whose first packet has this index."""
        from lab.analysis import rows

        return rows.packet_rows(self._survey.state, self._ends, chunk, index, self._later_spurious, self._addresses)

    @cached_property
    def _ends(self) -> Records:
        """What rows of packets need of all connections."""
        from lab.analysis import rows

        return rows.packet_ends(self._survey.state, self._survey.spill.forget)

    @cached_property
    def _addresses(self) -> pl.Series:
        from lab.analysis import rows

        return rows.address_texts(self._survey.state)

    @cached_property
    def _later_spurious(self) -> npt.NDArray[np.int64]:
        """Indexes of the retransmissions found spurious."""
        from lab.analysis.state import RETRANSMISSIONS

        log = self._survey.state.retransmissions[: int(self._survey.state.counts[RETRANSMISSIONS])]
        found: npt.NDArray[np.int64] = log["packet"][log["spurious"] == 1]
        return found


def analyze(
    paths: Sequence[Path],
    *,
    originators: Sequence[str] | None = None,
    on_compile: Callable[[str], None] | None = None,
    keep_packets: int = KEPT_PACKETS,
) -> Analysis:
    """Read capture files and follow every connection in them.

    `originators` are addresses of clients, for connections whose SYN was not captured. `on_compile` gets a line to
    show when this is the first call on the machine and compiles. Never raises for what a file holds: see
    `Analysis.errors`.
    """
    from lab.analysis.compile_ahead import compile_ahead

    compile_ahead(on_compile)
    from lab.analysis.survey import survey

    addresses = tuple(originators or ())
    result, chunks = survey(tuple(paths), addresses)
    kept: list[Records] | None = []
    for chunk in chunks:
        if kept is not None:
            kept.append(chunk)
            if result.packets > keep_packets:
                kept = None
    return Analysis(
        paths=tuple(paths),
        originators=addresses,
        _survey=result,
        _kept=None if kept is None else tuple(kept),
    )


def write_parquet(analysis: Analysis, folder: Path) -> None:
    """Write the tables as Parquet files into `folder`, in bounded memory: `packets`, `connections`, `flows`,
    `captures`, and of short captures `frames`.
    """
    _write_tables([(None, analysis)], folder)


def write_vantages(analyses: Mapping[str, Analysis], folder: Path) -> None:
    """Write the same tables of several vantages, one after the other; their names are the first column, `host`."""
    _write_tables(list(analyses.items()), folder)


def _write_tables(analyses: Sequence[tuple[str | None, Analysis]], folder: Path) -> None:
    from lab.analysis import tables
    from lab.analysis.parquet import parts_of, write_chunks

    made = {
        "packets": (tables.PACKETS, lambda analysis: analysis._packet_parts()),
        "connections": (tables.CONNECTION_COLUMNS, lambda analysis: analysis._connection_parts()),
        "flows": (tables.FLOWS, lambda analysis: parts_of(analysis.flows)),
        "captures": (tables.CAPTURES, lambda analysis: parts_of(analysis.captures)),
    }
    if all(analysis.frames is not None for _, analysis in analyses):
        made["frames"] = (tables.FRAMES, lambda analysis: parts_of(analysis.frames))
    named = any(name is not None for name, _ in analyses)
    folder.mkdir(parents=True, exist_ok=True)
    for table, (columns, chunks_of) in made.items():
        vantages = ((name, chunks_of(analysis)) for name, analysis in analyses)
        write_chunks(vantages, columns, folder / f"{table}.parquet", named=named)
