"""The capture sidecar: record every packet that a host sends and receives, and say honestly what was lost.

    python -m lab.inside.capture --interface eth0 --filter 'tcp port 9000' --snaplen 128 --name server

It joins a host's network stack, arms its recorder, declares itself ready, and records until SIGTERM. Results in
`$LAB_OUT`: `capture.pcapng`, and `capture.json` with what was received, dropped and written on each interface. It
never changes the traffic, and gives up every capability once its sockets are open.

Why a ring and not `sniff()`. A program that asks the kernel for one packet at a time pays a system call, a wake-up and
(in Python) a few objects for each, some ten microseconds; a server under test moves a packet every five. The socket's
buffer overflows and the kernel drops what does not fit: recording `epoll-10k` with scapy's `sniff()` loses 94 to 98 %
of the packets. With a TPACKET_V3 ring (`ring.py`) the kernel writes packets straight into memory that this process
maps. While traffic runs this program only looks now and then whether the ring gets full (`spool.py`), so it neither
loses packets nor takes the processor from the server being measured. The records become pcapng after the stop
(`records.py`).

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

import argparse
import os
import sys
import time
from pathlib import Path

from lab.inside import bpf, lifecycle
from lab.inside.privileges import drop_capabilities
from lab.inside.recording import Recording, write_capture
from lab.inside.ring import BLOCK_TIMEOUT_MS, RING_BYTES, InterfaceUnusable, Ring, linktype_of
from lab.inside.spool import Spool

PROGRAM = "capture"
EXIT_INVALID = 2
EXIT_MACHINE_LACKS = 3
DEFAULT_SNAPLEN = 262144
"""Bytes kept of a packet unless told otherwise: more than any packet has (tcpdump's default too)."""
_PROGRESS_S = 0.5
_WORST_PACKETS_PER_S = 500_000  # more than two processors pass through a veth pair
_WORST_BYTES_PER_S = 2_000_000_000  # what large packets reach there
_RECORD_OVERHEAD_BYTES = 96  # what the ring keeps beside the packet
_LOOK_SHORTEST_S, _LOOK_LONGEST_S = 0.005, 0.2
_DRAIN_BOUND_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    signals = lifecycle.Signals()
    out = lifecycle.out_folder()
    try:
        recordings = [_arm(name, options, out / f"{PROGRAM}.{i}.spool") for i, name in enumerate(options.interface)]
    except (bpf.FilterInvalid, InterfaceUnusable) as error:
        where = f"--filter {options.filter!r}" if isinstance(error, bpf.FilterInvalid) else "--interface"
        lifecycle.say(f"capture: {where}: {error}")
        return EXIT_INVALID
    except (OSError, RuntimeError) as error:
        hint = "\nhint: grant CAP_NET_RAW over this network stack" if isinstance(error, PermissionError) else ""
        lifecycle.say(f"capture: cannot record: {error}{hint}")
        return EXIT_MACHINE_LACKS
    drop_capabilities()
    armed = {r.interface: {"linktype": r.linktype, "ring_bytes": r.ring.ring_bytes} for r in recordings}
    lifecycle.ready(PROGRAM, name=options.name, interfaces=armed, filter=options.filter, snaplen=options.snaplen)

    armed_ns = time.process_time_ns()
    _record(recordings, signals, options.snaplen)
    drained = _drain(recordings)
    recorded_ns = time.process_time_ns()
    with open(out / "capture.pcapng", "wb", buffering=0) as file:
        write_capture(file, recordings, snaplen=options.snaplen, capture_filter=options.filter, cap=options.max_bytes)
    for recording in recordings:
        recording.spool.close()
        recording.ring.close()
    result = _result(recordings, options, drained)
    result["cpu_ns"] = {
        "arming": armed_ns,
        "recording": recorded_ns - armed_ns,
        "converting": time.process_time_ns() - recorded_ns,
    }
    result["usage"] = lifecycle.usage()
    lifecycle.write_result(PROGRAM, result)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="capture", description="Record what interfaces send and receive.")
    parser.add_argument("--interface", action="append", required=True, help="repeat to record several into one file")
    parser.add_argument("--filter", default="", help="pcap-filter(7); empty: every packet")
    parser.add_argument("--snaplen", type=_positive, default=DEFAULT_SNAPLEN, help="bytes kept of each packet")
    parser.add_argument("--name", default=os.uname().nodename, help="the host, for the result")
    parser.add_argument("--ring-bytes", type=_positive, default=RING_BYTES, help="memory for one interface's ring")
    parser.add_argument("--max-bytes", type=_positive, default=None, help="cap on the file, and on disk used before it")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be positive, got {value}")
    return value


def _arm(interface: str, options: argparse.Namespace, spool: Path) -> Recording:
    """Start recording on one interface: from here on every packet that the filter keeps is counted."""
    linktype = linktype_of(interface)
    program = bpf.compile_filter(options.filter, options.snaplen, linktype)
    ring = Ring(interface, program, ring_bytes=options.ring_bytes)
    start_ns = time.time_ns()
    return Recording(
        interface=interface,
        linktype=linktype,
        ring=ring,
        spool=Spool(ring, spool, max_bytes=options.max_bytes),
        start_ns=start_ns,
    )


def _record(recordings: list[Recording], signals: lifecycle.Signals, snaplen: int) -> None:
    """Keep room in the rings and tell how many packets there are, until the stop, and a block timeout longer."""
    look_s = _time_to_half_a_ring(min(r.ring.ring_bytes for r in recordings), snaplen)
    progress_at = time.monotonic() + _PROGRESS_S
    stop_at: float | None = None
    while stop_at is None or time.monotonic() < stop_at:
        signals.wait(look_s if stop_at is None else BLOCK_TIMEOUT_MS / 1000)
        for recording in recordings:
            recording.spool.relieve()
        if signals.stopping and stop_at is None:
            stop_at = time.monotonic() + BLOCK_TIMEOUT_MS / 1000
        if time.monotonic() >= progress_at:
            progress_at += _PROGRESS_S
            for recording in recordings:
                recording.ring.count()
            packets = sum(r.ring.packets for r in recordings)
            lifecycle.emit("progress", packets=packets, dropped=sum(r.ring.drops for r in recordings))


def _time_to_half_a_ring(ring_bytes: int, snaplen: int) -> float:
    """How long the fastest traffic imaginable here takes to fill half a ring, in seconds: how often to look."""
    bytes_per_s = min(_WORST_BYTES_PER_S, _WORST_PACKETS_PER_S * (snaplen + _RECORD_OVERHEAD_BYTES))
    return max(_LOOK_SHORTEST_S, min(_LOOK_LONGEST_S, ring_bytes / 2 / bytes_per_s))


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


def _result(recordings: list[Recording], options: argparse.Namespace, drained: bool) -> lifecycle.Event:
    return {
        "name": options.name,
        "filter": options.filter,
        "snaplen": options.snaplen,
        "drained": drained,
        "truncated_by_cap": any(r.truncated for r in recordings),
        "interfaces": {
            r.interface: {
                "received": r.ring.packets,
                "dropped": r.ring.drops,
                "written": r.written,
                "bytes": r.written_bytes,
                "first_ns": r.first_ns,
                "last_ns": r.last_ns,
                "start_ns": r.start_ns,
                "end_ns": r.end_ns,
                "snaplen": options.snaplen,
                "filter": options.filter,
                "truncated_by_cap": r.truncated,
                "ring_bytes": r.ring.ring_bytes,
                "spooled_bytes": r.spool.spooled_bytes,
                "error": r.error,
            }
            for r in recordings
        },
    }


if __name__ == "__main__":
    sys.exit(main())
