"""The two verbs that look into captures, `lab analyze FILE..` and `lab inspect RUN`, with the options they share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lab import store
from lab.errors import LabError
from lab.verbs.words import Json

Connection = Annotated[int | None, typer.Option("--connection", "-c", metavar="N", help="Draw this connection.")]
Where = Annotated[str | None, typer.Option("--where", metavar="SQL", help="Condition over the connections table.")]
PacketNumber = Annotated[
    int | None, typer.Option("--packet", metavar="N", help="Take this packet apart, layer by layer, to the last byte.")
]
Packets = Annotated[
    bool, typer.Option("--packets", help="List the packets, a line each (of `--connection N`, `--where SQL`).")
]
Limit = Annotated[int, typer.Option("--limit", help="Rows to print.")]
Svg = Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write the drawing as SVG, to scale.")]
Pcap = Annotated[
    Path | None, typer.Option("--pcap", metavar="FILE", help="Write the packets of the chosen connections (pcapng).")
]
Scapy = Annotated[bool, typer.Option("--scapy", help="Open a scapy shell on the packets of the chosen connections.")]
Wireshark = Annotated[bool, typer.Option("--wireshark", help="Start Wireshark on the packets of the chosen ones.")]


def analyze(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="pcap or pcapng files of any tool.")],
    connection: Connection = None,
    where: Where = None,
    packet: PacketNumber = None,
    packets: Packets = False,
    limit: Limit = 20,
    svg: Svg = None,
    pcap: Pcap = None,
    scapy: Scapy = False,
    wireshark: Wireshark = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="DIR", help="Write all tables as Parquet into this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain any capture: kinds of connections with an example of each, flows; or one connection as a ladder, or
    one packet layer by layer."""
    from lab.analyze_files import analyze_files, check_files
    from lab.captured import Wanted

    wanted = Wanted(
        connection=connection,
        where=where,
        packet=packet,
        packets=packets,
        limit=limit,
        svg=svg,
        pcap=pcap,
        scapy=scapy,
        wireshark=wireshark,
    )
    check_files(files, wanted)
    several, printed, errors = len(files) > 1, 0, []
    for found in analyze_files(files, wanted, parquet=parquet, say=_say):
        if found.error is not None:
            errors.append(found.error)
        if as_json:
            for number, piece in enumerate(found.json()):
                sys.stdout.write((",\n" if printed else "[") if several and number == 0 else "")
                sys.stdout.write(piece)
                printed += number == 0
        elif found.text:
            print("\n" * (printed > 0) + found.text)
            printed += 1
        for line in found.said:
            _say(line)
    if as_json and (several or printed):
        print(("]" if printed else "[]") if several else "")
    if errors:
        raise typer.Exit(_tell_errors(errors))


def _tell_errors(errors: Sequence[LabError]) -> int:
    """Print every error; return the exit code of the gravest."""
    sys.stdout.flush()
    for error in errors:
        _say(f"error: {error}")
        if error.hint:
            _say(f"hint: {error.hint}")
    return max(error.exit_code for error in errors)


def inspect(
    run_name: Annotated[
        str, typer.Argument(metavar="RUN", help="A scenario's name (its latest run), a run's id or folder.")
    ],
    connection: Connection = None,
    host: Annotated[str | None, typer.Option("--host", help="The vantage; default: the server's.")] = None,
    where: Where = None,
    packet: PacketNumber = None,
    packets: Packets = False,
    vantages: Annotated[
        bool, typer.Option("--vantages", help="What became of each segment between the captured hosts.")
    ] = False,
    messages: Annotated[
        bool,
        typer.Option("--messages", help="Messages, sends, segments and recvs on a ruler (`--connection N`: stream N)."),
    ] = False,
    contents: Annotated[
        bool, typer.Option("--contents", help="What was said: each message with its time, side and text.")
    ] = False,
    limit: Limit = 20,
    svg: Svg = None,
    pcap: Pcap = None,
    scapy: Scapy = False,
    wireshark: Wireshark = False,
    as_json: Json = False,
) -> None:
    """Look into a run's captures: kinds of connections, one example each; one connection as a ladder; one packet layer
    by layer."""
    from lab.captured import Wanted, print_json
    from lab.inspect_run import at_vantage, inspect_run

    folder = store.find(run_name, Path.cwd()).folder
    said: list[str] = []
    if messages:
        from lab.inspect_messages import inspect_messages

        data, text = inspect_messages(folder, stream=connection, drawing=svg)
    elif contents:
        from lab.inspect_contents import inspect_contents

        data, text = inspect_contents(folder, at_vantage(folder, host).name, connection=connection, limit=limit)
    elif vantages:
        from lab.between_vantages import between_vantages

        at = at_vantage(folder, host).name
        data, text = between_vantages(folder, connection=connection, host=at, limit=limit)
    else:
        wanted = Wanted(
            connection=connection,
            where=where,
            packet=packet,
            packets=packets,
            limit=limit,
            svg=svg,
            pcap=pcap,
            scapy=scapy,
            wireshark=wireshark,
        )
        data, text, said = inspect_run(folder, wanted, host=host)
    print_json(data) if as_json else print(text)
    for line in said:
        _say(line)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
