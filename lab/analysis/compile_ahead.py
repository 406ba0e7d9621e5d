"""Compiling all kernels before the first packet: in two processes side by side, and never twice at once.

Left alone, a kernel compiles when it is first called, one after the other. Here two child processes each call a half
of the kernels with nothing in hand (arrays of the right types, no packets), which leaves the code in the cache folder
of `compiled.py`. A lock in that folder makes every other process that starts meanwhile wait for the code instead of
compiling it as well.

A child that fails is no error: what it did not leave compiles when it is called, and says there what is wrong.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lab.analysis import compiled

PACKAGE_ROOT = Path(__file__).resolve().parent.parent.parent


def compile_ahead(say: Callable[[str], None] | None) -> None:
    """Compile what this machine has not compiled yet; `say` gets a line when that begins (or is waited for)."""
    if not compiled.compiles_on_first_call():
        return
    if say is not None:
        say("compiling the analysis for this machine, once (some 15 seconds)")
    if compiled.FOLDER is None or not sys.executable:
        return  # nothing can be kept: the kernels compile in this process, when they are called
    with (compiled.FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not compiled.compiles_on_first_call():
            return  # another process has done it
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE_ROOT), *sys.path])}
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "lab.analysis.compile_ahead", half],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for half in HALVES
        ]
        exits = [child.wait() for child in children]
        if not any(exits):
            compiled.note_complete()


def _follow() -> None:
    """Call the kernels that follow connections."""
    import numpy as np

    from lab.analysis.connections import follow
    from lab.analysis.packet_records import PACKET, WORK
    from lab.analysis.state import empty_state

    follow(np.empty(0, np.uint8), np.zeros(0, PACKET), 0, 0, 0, np.zeros(0, WORK), empty_state())


def _the_rest() -> None:
    """Call the kernels that find packets (in a ring's blocks, in a file), take them apart, and write rows."""
    import numpy as np

    from lab.analysis import (
        columns,
        endpoints,
        judgements,
        packet_columns,
        packets,
        parquet_values,
        records,
        ring_blocks,
    )
    from lab.analysis.endpoints import with_slots
    from lab.analysis.packet_records import PACKET, WORK
    from lab.analysis.state import HISTORY_TEXT, empty_state, with_room

    state = with_slots(with_room(empty_state(), 1), 1)
    endpoints.resolve(np.zeros(0, PACKET), 0, 0, np.zeros(0, WORK), state)
    endpoints.address_row(state, np.uint64(0), np.uint64(0), np.uint8(4))
    nothing, frames = np.empty(0, np.uint8), records.frames_ring(1, 0)[0]
    interfaces = np.zeros(1, records.INTERFACE)
    no_packets = np.zeros(0, PACKET)
    out, sides = columns.connection_columns(0)
    text, texts, lengths = (
        np.empty(HISTORY_TEXT, np.uint8),
        np.empty((0, HISTORY_TEXT), np.uint8),
        np.empty(0, np.int64),
    )
    judgements.judge_connections(state, 0, 0, np.zeros(1, np.bool_), out, sides)
    judgements.write_histories(state, 0, 0, np.zeros(2, np.uint32), texts, lengths, text, out.u32[columns.HISTORY])
    ends = np.zeros(0, packet_columns.END)
    packet_columns.sum_up(state, 0, 0, ends)
    packet_columns.finish_packets(state, ends, no_packets, columns.packet_columns(0))
    packets.dissect(nothing, frames, 0, interfaces, no_packets, 0, np.zeros(0, WORK))
    records.count_packets(frames, 0, interfaces)
    records.pcap_records(nothing, 0, 0, False, 1, 0, frames, 0)
    records.pcapng_records(nothing, 0, 0, False, interfaces, 0, frames, 0)
    endpoints.fill_slots(state.slots, state.pairs, 0)
    endpoints.fill_address_slots(state.address_slots, state.addresses, 0)
    numbers, room = np.zeros(1, np.int64), np.empty(parquet_values.MOST_BYTES_OF_A_HEAD, np.uint8)
    parquet_values.pack_differences(numbers, False, numbers, room)
    known = np.zeros(1, np.bool_)
    parquet_values.keep(numbers, known, numbers)
    parquet_values.note_codes(numbers, known)
    parquet_values.pack_codes(numbers[:0], numbers, 1, numbers, room)
    ring_blocks.convert_nothing()


HALVES = {"follow": _follow, "rest": _the_rest}

if __name__ == "__main__":
    HALVES[sys.argv[1]]()
