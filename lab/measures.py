"""The measures: every quantity that an expectation may name, with its unit, its meaning, and where it comes from.

A leaf module, so that a scenario can be checked before anything runs and a verdict can be judged after everything ran,
both from the same list. A `*` stands for one word or more: `teardown.*` covers `teardown.fin4` and the like.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Unit = Literal["count", "ns", "bytes", "per_s", "ratio"]
Source = Literal[
    "fleet",
    "server",
    "capture",
    "packets",
    "frames",
    "contents",
    "counters",
    "latency",
    "script",
    "usage",
    "boundaries",
    "datagrams",
]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity, or one family of quantities."""

    name: str
    unit: Unit
    source: Source
    """`fleet`, `server`: what the programs counted; `capture`: the recorder's own counts; `packets`: the analysis of
    the capture at one host (unknown where it lost anything), `frames` likewise, of short captures; `contents`: what was
    said, out of the payloads in the capture; `counters`: the kernel's; `latency`: the fleet's log; `script`: what the
    steps of a script gave; `usage`: what the server used, phase by phase; `boundaries`: where messages were joined or
    cut on their way to one host, by the boundary logs of both ends; `datagrams`: what became of numbered datagrams on
    their way to one host, by the captures of both hosts and the boundary logs of both ends."""
    meaning: str


CAPTURED: tuple[Source, ...] = ("packets", "frames", "contents")
"""Sources that are nothing without a capture."""
USAGE = (
    "server.load_cpu",
    "server.load_cpu_per_message",
    "server.load_rate",
    "server.load_cores",
    "server.load_runnable",
    "server.start_cpu",
    "server.idle_cpu",
    "server.syscalls_per_message",
    "server.syscalls_per_message.*",
    "server.switches_per_message",
    "server.packets_per_message",
    "server.memory_per_connection",
    "server.threads_peak",
    "server.processes_peak",
    "server.descriptors_peak",
)
"""Measures of what the server used, phase by phase; others that begin with `server.` stand in its own result."""


def _all() -> tuple[Measure, ...]:
    def measure(name: str, unit: Unit, meaning: str) -> Measure:
        prefix = name.split(".")[0]
        sources: dict[str, Source] = {
            "fleet": "fleet",
            "server": "server",
            "capture": "capture",
            "counter": "counters",
            "latency": "latency",
            "script": "script",
            "step": "script",
            "state": "script",
            "boundaries": "boundaries",
            "answers": "contents",
            "arp": "frames",
            "frames": "frames",
            "fragments": "frames",
        }
        source = "usage" if name in USAGE else sources.get(prefix, "packets")
        if name.startswith("datagrams."):
            source = "datagrams"
        return Measure(name=name, unit=unit, source=source, meaning=meaning)

    return (
        measure("fleet.opened", "count", "connections the clients established"),
        measure("fleet.open_at_once", "count", "the most connections open at the same moment, over all fleet hosts"),
        measure("fleet.answered", "count", "connections with at least one complete answer"),
        measure("fleet.closed", "count", "connections the clients closed in an orderly way"),
        measure("fleet.errors", "count", "connections that failed, of any kind: refused, timed out, reset"),
        measure("fleet.error.*", "count", "connections that failed with one errno, e.g. `fleet.error.ECONNREFUSED`"),
        measure("fleet.sent", "count", "messages sent"),
        measure("fleet.received", "count", "complete answers received"),
        measure("fleet.wrong_answers", "count", "answers whose content was not what the handler should give"),
        measure("fleet.not_started", "count", "arrivals the generator planned and could not start"),
        measure("fleet.lost", "count", "datagrams sent and never answered"),
        measure("fleet.duplicated", "count", "datagrams answered more than once"),
        measure("fleet.reordered", "count", "datagrams whose number is below the highest already received (RFC 4737)"),
        measure("fleet.truncated", "count", "answers that were shorter than what was sent"),
        measure("server.accepted", "count", "connections the server accepted"),
        measure("server.open_peak", "count", "the most connections the server held at once"),
        measure("server.messages", "count", "messages the server handled"),
        measure("server.aborted", "count", "connections that ended by a reset, as the server saw them"),
        measure("server.cpu", "ns", "CPU time of the server's processes, user and system"),
        measure("server.cpu_per_message", "ns", "CPU time of the server's processes for each message it handled"),
        measure("server.load_cpu", "ns", "CPU time of the server in the load phases alone"),
        measure("server.load_cpu_per_message", "ns", "the same for each message answered in them"),
        measure("server.load_rate", "per_s", "messages answered a second in the load phases"),
        measure("server.load_cores", "ratio", "cores that the server kept busy in the load phases: CPU time over time"),
        measure(
            "server.load_runnable",
            "ratio",
            "threads of the server that ran or were ready to, on average over the load phases: with the time that they "
            "waited for a processor, so that it does not depend on how many there are",
        ),
        measure(
            "server.start_cpu",
            "ns",
            "CPU time of the server in the connect and hold phases for each connection: what starting to serve it cost",
        ),
        measure(
            "server.idle_cpu", "ratio", "share of one core that the server used in the hold phases: 1 is a whole core"
        ),
        measure(
            "server.syscalls_per_message", "ratio", "system calls of the server in the load phases for each message"
        ),
        measure(
            "server.syscalls_per_message.*", "ratio", "those of one name, e.g. `server.syscalls_per_message.recvfrom`"
        ),
        measure(
            "server.switches_per_message", "ratio", "times the server gave its processor up to wait, for each message"
        ),
        measure("server.packets_per_message", "ratio", "packets captured at the server in the load phases, a message"),
        measure(
            "server.memory_per_connection",
            "bytes",
            "memory of the server's processes that each silent connection added",
        ),
        measure("server.threads_peak", "count", "most threads of the server's processes at the end of a phase"),
        measure("server.processes_peak", "count", "most processes of the server at the end of a phase"),
        measure("server.descriptors_peak", "count", "most descriptors of the server's processes at the end of a phase"),
        measure("server.*", "count", "any other number in the server's result, e.g. `server.accept_errors`"),
        measure("capture.packets", "count", "packets in the capture file"),
        measure("capture.dropped", "count", "packets the recorder lost, by the kernel's count"),
        measure("capture.unreconciled", "count", "segments on which the kernel's counters and the capture disagree"),
        measure("connections", "count", "TCP connections (incarnations) in the capture"),
        measure("handshake.complete", "count", "connections with a complete handshake"),
        measure("handshake.incomplete", "count", "connections without one, for any reason"),
        measure("handshake.*", "count", "incomplete handshakes of one reason, e.g. `handshake.refused`"),
        measure("teardown.orderly", "count", "connections closed by FINs from both sides: fin4, fin3 and simultaneous"),
        measure("teardown.*", "count", "connections with one kind of teardown, e.g. `teardown.fin3`, `teardown.reset`"),
        measure("reset.*", "count", "connections ended by one kind of reset, e.g. `reset.abort`"),
        measure("closer.*", "count", "connections whose active closer is `orig`, `resp` or `both`"),
        measure("answered", "count", "connections with payload from both sides in the capture"),
        measure("retransmissions", "count", "segments sent again, both directions"),
        measure("zero_windows", "count", "segments that announced a zero window, both directions"),
        measure("span", "ns", "from the first packet with payload to the last, in the capture"),
        measure("answers.all", "count", "answers in the capture, cut out of the streams by the fleet's framing"),
        measure("answers.distinct", "count", "of these, those that no answer before was equal to"),
        measure("answers.repeated", "count", "the others: the same was answered before, to anybody"),
        measure("packets", "count", "packets in the capture that the analysis read"),
        measure("datagrams", "count", "UDP datagrams in the capture"),
        measure("arp.requests", "count", "ARP requests in the capture: who has an address?"),
        measure("arp.replies", "count", "ARP replies in the capture"),
        measure(
            "frames.*", "count", "Ethernet frames in the capture to one station or many: unicast, multicast, broadcast"
        ),
        measure("fragments", "count", "IP fragments in the capture"),
        measure("latency.connect.*", "ns", "time to connect: `p50`, `p90`, `p99`, `p99.9`, `max`, `min`"),
        measure("latency.service.*", "ns", "sent to answered: `p50`, `p90`, `p99`, `p99.9`, `max`, `min`"),
        measure("latency.response.*", "ns", "planned to answered, stalls included: `p50` ... `max`"),
        measure(
            "script.unexpected", "count", "steps of the script that were not made, or ended otherwise than written"
        ),
        measure("step.*.duration", "ns", "how long a step took, by its name: `step.third.duration`"),
        measure("step.*.bytes", "bytes", "payload that a step moved, by its name"),
        measure("step.*.calls", "count", "send or recv calls that a step made, by its name"),
        measure("step.*.messages", "count", "whole messages that a recv with `framing` gave, by its name"),
        measure("step.*.truncated", "count", "datagrams that a recv's buffer cut, by its name"),
        measure("step.*.frames", "count", "frames that the switch of a step had passed on by then, by its name"),
        measure(
            "step.*.moves", "count", "how often that switch saw a station at another port than before, by its name"
        ),
        measure("state.*", "count", "sockets in a state at a look, by its name: `state.after.TIME-WAIT`"),
        measure("boundaries.messages", "count", "messages sent to this host, by the sender's boundary log"),
        measure("boundaries.misread", "count", "of these, those that the receiver joined, cut, or did not get"),
        measure("boundaries.lost", "count", "of these, those of which no recv brought anything"),
        measure("boundaries.duplicated", "count", "datagrams to this host that more than one recv brought"),
        measure(
            "boundaries.sends.*", "count", "send calls to this host: `all`, `aligned`, `coalesced`, `split` (or both)"
        ),
        measure(
            "boundaries.segments.*", "count", "segments with new bytes to it: `all`, `aligned`, `coalesced`, `split`"
        ),
        measure("boundaries.recvs.*", "count", "recv calls at it: `all`, `aligned`, `coalesced`, `split`"),
        measure(
            "boundaries.joined_by.*",
            "count",
            "messages that came coalesced, by cause: one_send, cork, nagle, send_queue, late_recv",
        ),
        measure(
            "boundaries.cut_by.*",
            "count",
            "messages that came split, by cause: several_sends, mss, sender, recv_size, early_recv",
        ),
        measure("datagrams.sent", "count", "numbered datagrams sent to this host, by the first that noted them"),
        measure("datagrams.taken", "count", "of these, those that a recv of the program took"),
        measure("datagrams.lost_on_wire", "count", "those in the sender's capture and not in this host's"),
        measure("datagrams.lost_at_receiver", "count", "those in this host's capture that no recv brought"),
        measure(
            "datagrams.unexplained",
            "count",
            "by how many `lost_at_receiver` differs from what this host's kernel says it threw away",
        ),
        measure("datagrams.duplicated", "count", "copies beyond the first in this host's capture"),
        measure("datagrams.reordered", "count", "those whose number is below one that came before (RFC 4737)"),
        measure("datagrams.extent", "count", "most places that one came behind the first it should precede"),
        measure("datagrams.truncated", "count", "datagrams whose end the buffer of a recv cut"),
        measure(
            "datagrams.jitter.*",
            "ns",
            "jitter by RFC 3550 against the time of sending at `sender`, `receiver`, `recv`; of the way alone: `wire`",
        ),
        measure("counter.*", "count", "growth of a kernel counter of one host, e.g. `counter.TcpExt.ListenOverflows`"),
    )


MEASURES: tuple[Measure, ...] = _all()
_NAMED = {measure.name: measure for measure in MEASURES}
_FAMILIES = sorted((measure for measure in MEASURES if "*" in measure.name), key=lambda measure: -len(measure.name))
"""The most specific first."""


def find(name: str) -> Measure | None:
    """Return the measure of that name, or the most specific family it belongs to; None if there is none."""
    return _NAMED.get(name) or next((m for m in _FAMILIES if fnmatchcase(name, m.name.replace("*", "?*"))), None)


NEITHER = ("server.load_cores", "server.load_runnable")
"""Ratios of which nobody can say whether more is better; the others are costs."""


def better(name: str) -> Literal["more", "less"] | None:
    """Say whether more or less of a measure is better; None where neither is, as for counts."""
    measure = find(name)
    if measure is None or measure.unit == "count" or name in NEITHER:
        return None
    return "more" if measure.unit == "per_s" else "less"
