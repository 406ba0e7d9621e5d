"""The capture sidecar: record every packet that a host sends and receives, and say honestly what was lost.

    python -m lab.inside.capture --interface eth0 --filter 'tcp port 9000' --snaplen 128 --name server

It joins a host's network stack, arms its recorder, declares itself ready, and records until SIGTERM. Results in
`$LAB_OUT`: the packets, and `capture.json` with what was received, dropped and written on each interface. It never
changes the traffic, and gives up every capability once its sockets are open.

The packets go into `capture.pcapng`, as records that machine code makes of what stands in the ring (`stream.py`). Where
that cannot be (several interfaces, whose packets are to stand in the order of time; no code for this processor), a run
of the lab is left the blocks of the ring as the kernel laid them out, for the lab to convert
(`lab/analysis/ring_blocks.py`): `capture.0.blocks` of the first interface and so on, and `capture.frame`, the pcapng
file that they belong into. Started by hand the sidecar converts them itself after the stop (`pcapng_file.py`).

Why a ring and not `sniff()`. A program that asks the kernel for one packet at a time pays a system call, a wake-up and
(in Python) a few objects for each, some ten microseconds; a server under test moves a packet every five. The socket's
buffer overflows and the kernel drops what does not fit: recording `epoll-10k` with scapy's `sniff()` loses 94 to 98 %
of the packets. With a TPACKET_V3 ring (`ring.py`) the kernel writes packets straight into memory that this process
maps. While traffic runs this program only looks now and then whether the ring gets full, so it neither loses packets
nor takes the processor from the server being measured.

Where a packet can be lost, and which number tells:

- before the socket: dropped by the sending queue or the interface; it never was on this host's wire: in no number here
- refused by the filter: in no number here (that is the filter's purpose)
- no block of the ring was free: `dropped`, and part of `received` (packet(7), PACKET_STATISTICS)
- left out for `--max-bytes`: `received` - `dropped` - `written`, and `truncated_by_cap` is true
- after the stop: not recorded, not counted

So `received` = `dropped` + `written` in every recording without a cap. Bytes beyond the snaplen are cut off each
packet, and its original length is kept. Packets stand in the order in which the kernel put them into the ring; on
several processors that may differ by microseconds from the order of their times.

The stop. A block is handed over when full or 50 ms after it was opened, so the last packets may still stand in a block
that is the kernel's. After SIGTERM the recorder stays open for 50 ms (packets sent before the signal may still be in
the kernel's backlog), then lets nothing more in, and waits until every packet that the kernel counted has been handed
over.

Documentation: packet(7), Documentation/networking/packet_mmap.rst, pcap-filter(7), draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import posix
import time

from lab.inside import bpf, lifecycle
from lab.inside.arguments import Option, number, read_arguments
from lab.inside.machine_code import NoCode
from lab.inside.privileges import drop_capabilities
from lab.inside.recording import Recording, frame, head, statistics
from lab.inside.ring import BLOCK_TIMEOUT_MS, InterfaceUnusable, Ring, ring_bytes_for
from lab.inside.spool import Kept, Spool
from lab.inside.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "capture"
EXIT_INVALID = 2
EXIT_MACHINE_LACKS = 3
DEFAULT_SNAPLEN = 262144
"""Bytes kept of a packet unless told otherwise: more than any packet has (tcpdump's default too)."""
_PROGRESS_S = 0.5
_WORST_PACKETS_PER_S = 500_000  # more than two processors pass through a veth pair
_WORST_BYTES_PER_S = 2_000_000_000  # what large packets reach there
_RECORD_OVERHEAD_BYTES = 96  # what the ring keeps beside the packet
_SPARE = 1 / 8
"""Share of a ring that is still free when it is looked at again, even if such traffic set in right after the last look;
the block that the kernel is filling is in it, where there are eight or more."""
OPTIONS = [
    Option("interface", "what to record, all into one file", repeat=True, required=True),
    Option("filter", "pcap-filter(7); empty: every packet", default=""),
    Option("snaplen", "bytes kept of each packet", read=number(1), default=DEFAULT_SNAPLEN),
    Option("name", "the host, for the result; else what it calls itself"),
    Option("ring-bytes", "memory for one interface's ring; else by the snaplen", read=number(1)),
    Option("max-bytes", "cap on the file, and on disk used before it", read=number(1)),
]
_LOOK_SHORTEST_S, _LOOK_LONGEST_S = 0.005, 0.2
_DRAIN_BOUND_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    options = read_arguments(PROGRAM, "Record what interfaces send and receive.", OPTIONS, arguments)
    options["name"] = options["name"] or posix.uname().nodename
    snaplen, capture_filter = options["snaplen"], options["filter"]
    by_lab = lifecycle.barriers_by_signal()
    signals = lifecycle.Signals()
    try:
        recordings = [_arm(name, options, index, by_lab) for index, name in enumerate(options["interface"])]
    except (bpf.FilterInvalid, InterfaceUnusable) as error:
        where = f"--filter {capture_filter!r}" if isinstance(error, bpf.FilterInvalid) else "--interface"
        lifecycle.say(f"capture: {where}: {error}")
        return EXIT_INVALID
    except (OSError, RuntimeError) as error:
        hint = "\nhint: grant CAP_NET_RAW over this network stack" if isinstance(error, PermissionError) else ""
        lifecycle.say(f"capture: cannot record: {error}{hint}")
        return EXIT_MACHINE_LACKS
    drop_capabilities()
    stream = recordings[0].spool if isinstance(recordings[0].spool, Stream) else None
    if stream is not None:
        stream.begin(head(recordings, snaplen, capture_filter), len(statistics(recordings)))
    armed = {r.interface: {"linktype": r.linktype, "ring_bytes": r.ring.ring_bytes} for r in recordings}
    lifecycle.ready(PROGRAM, name=options["name"], interfaces=armed, filter=capture_filter, snaplen=snaplen)

    armed_ns = time.process_time_ns()
    _record(recordings, signals, snaplen)
    drained = _drain(recordings)
    recorded_ns = time.process_time_ns()
    if stream is not None:
        recordings[0].keep()
        stream.end(statistics(recordings))
    elif by_lab:
        for recording in recordings:
            recording.keep()
        with open(lifecycle.out_path("capture.frame"), "wb", buffering=0) as file:
            file.write(frame(recordings, snaplen, capture_filter))
    else:
        from lab.inside.pcapng_file import write_capture  # by hand only: see above

        with open(lifecycle.out_path("capture.pcapng"), "wb", buffering=0) as file:
            write_capture(file, recordings, snaplen, capture_filter, cap=options["max_bytes"])
    result = _result(recordings, options, drained)
    result["cpu_ns"] = {
        "arming": armed_ns,
        "recording": recorded_ns - armed_ns,
        "keeping" if by_lab or stream is not None else "converting": time.process_time_ns() - recorded_ns,
    }
    result["usage"] = lifecycle.usage()
    lifecycle.write_result(PROGRAM, result)
    return 0


def _arm(interface: str, options: dict[str, Any], index: int, by_lab: bool) -> Recording:
    """Start recording on one interface: from here on every packet that the filter keeps is counted."""
    ring = Ring(interface)
    program = bpf.compile_filter(options["filter"], options["snaplen"], ring.linktype)
    ring.arm(program, ring_bytes=options["ring_bytes"] or ring_bytes_for(options["snaplen"]))
    start_ns = time.time_ns()
    spool = _spool(ring, options, index, by_lab)
    return Recording(interface=interface, linktype=ring.linktype, ring=ring, spool=spool, start_ns=start_ns)


def _spool(ring: Ring, options: dict[str, Any], index: int, by_lab: bool) -> Kept:
    """Where the ring's packets go: at once into the capture file, if that can be (`stream.py`)."""
    if len(options["interface"]) == 1:
        try:
            path = lifecycle.out_path("capture.pcapng")
            return Stream(ring, path, snaplen=options["snaplen"], max_bytes=options["max_bytes"])
        except NoCode:
            pass
    blocks = lifecycle.out_path(f"{PROGRAM}.{index}.blocks")
    return Spool(ring, blocks, max_bytes=options["max_bytes"], stays=by_lab)


def _record(recordings: list[Recording], signals: lifecycle.Signals, snaplen: int) -> None:
    """Keep room in the rings and tell how many packets there are, until the stop, and a block timeout longer."""
    fill_s = _time_to_fill(min(r.ring.ring_bytes for r in recordings), snaplen)
    progress_at = time.monotonic() + _PROGRESS_S
    stop_at: float | None = None
    while True:
        free = min(recording.spool.relieve() for recording in recordings)
        now = time.monotonic()
        look_s = max(_LOOK_SHORTEST_S, min(_LOOK_LONGEST_S, fill_s * (free - _SPARE)))
        if signals.stopping:
            if stop_at is None:
                stop_at = now + BLOCK_TIMEOUT_MS / 1000
            if now >= stop_at:
                return
            look_s = min(look_s, stop_at - now)
        if now >= progress_at:
            progress_at += _PROGRESS_S
            for recording in recordings:
                recording.ring.count()
            packets = sum(r.ring.packets for r in recordings)
            lifecycle.emit("progress", packets=packets, dropped=sum(r.ring.drops for r in recordings))
        signals.wait(look_s)


def _time_to_fill(ring_bytes: int, snaplen: int) -> float:
    """How long the fastest traffic imaginable here takes to fill a ring, in seconds."""
    bytes_per_s = min(_WORST_BYTES_PER_S, _WORST_PACKETS_PER_S * (snaplen + _RECORD_OVERHEAD_BYTES))
    return ring_bytes / bytes_per_s


def _drain(recordings: list[Recording]) -> bool:
    """Let nothing more in, and wait until all that is in has been handed over; False if that did not come about."""
    for recording in recordings:
        recording.ring.shut_gate()
        recording.end_ns = time.time_ns()
        recording.error = recording.ring.take_error()
    deadline = time.monotonic() + _DRAIN_BOUND_S
    for recording in recordings:
        recording.ring.count()
        while not recording.ring.all_handed_over():
            if time.monotonic() > deadline:
                return False
            time.sleep(BLOCK_TIMEOUT_MS / 10_000)
            recording.ring.count()
    return True


def _result(recordings: list[Recording], options: dict[str, Any], drained: bool) -> lifecycle.Event:
    return {
        "name": options["name"],
        "filter": options["filter"],
        "snaplen": options["snaplen"],
        "drained": drained,
        "truncated_by_cap": any(r.truncated for r in recordings),
        "interfaces": {
            r.interface: {
                "received": r.ring.packets,
                "dropped": r.ring.drops,
                "written": r.written,
                "first_ns": r.first_ns,
                "last_ns": r.last_ns,
                "start_ns": r.start_ns,
                "end_ns": r.end_ns,
                "snaplen": options["snaplen"],
                "filter": options["filter"],
                "truncated_by_cap": r.truncated,
                "ring_bytes": r.ring.ring_bytes,
                "spooled_bytes": r.spool.spooled_bytes,
                "streamed": isinstance(r.spool, Stream),
                "error": r.error,
            }
            for r in recordings
        },
    }


if __name__ == "__main__":
    posix._exit(main())  # the results are written and standard output has no buffer: nothing is left to tidy up
