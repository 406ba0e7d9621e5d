"""A ring's blocks become a capture file, from one interface or several, by code that was compiled before.

Whether real blocks become what the sidecar itself would write is tested where there are sidecars: `tests/inside/`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from lab.analysis import analyze
from lab.analysis.capture_writer import InterfaceDescription, PcapngWriter
from lab.analysis.ring_blocks import FRAME, convert, convert_nothing, make_capture

FRAME_BYTES = bytes(range(60))
SECOND = 1_000_000_000


def block(*times_ns: int) -> bytes:
    """A block as the kernel lays it out: its description, then for each packet 68 bytes of words and its bytes."""
    records = b""
    for n, t_ns in enumerate(times_ns, start=1):
        following = 0 if n == len(times_ns) else 128
        seconds, nanoseconds = divmod(t_ns, SECOND)
        words = struct.pack(
            "=IIIIIIHHI", following, seconds, nanoseconds, len(FRAME_BYTES), len(FRAME_BYTES), 0, 68, 0, 0
        )
        records += words.ljust(68, b"\0") + FRAME_BYTES
    return struct.pack("=12xIII", len(times_ns), 48, 48 + len(records)).ljust(48, b"\0") + records


def left_by_a_sidecar(folder: Path, *blocks: bytes) -> Path:
    """A folder as a sidecar leaves it, an interface for each of the blocks."""
    folder.mkdir()
    with PcapngWriter(folder / FRAME, *(InterfaceDescription(name=f"eth{n}") for n in range(len(blocks)))) as frame:
        for n in range(len(blocks)):
            frame.statistics(0, interface=n, received=0, dropped=0)
    for n, content in enumerate(blocks):
        (folder / f"capture.{n}.blocks").write_bytes(content)
    return folder


def test_packets_of_all_interfaces_come_in_the_order_of_time_and_nothing_is_compiled_for_them(tmp_path: Path) -> None:
    convert_nothing()
    stats = convert.stats  # type: ignore[attr-defined]
    compiled, loaded = sum(stats.cache_misses.values()), len(convert.signatures)  # type: ignore[attr-defined]
    first, second = block(1 * SECOND + 5, 3 * SECOND), block(2 * SECOND, 4 * SECOND)
    cases = {
        "one": ((first,), [1 * SECOND + 5, 3 * SECOND], [0, 0]),
        "two": ((first, second), [1 * SECOND + 5, 2 * SECOND, 3 * SECOND, 4 * SECOND], [0, 1, 0, 1]),
        "none": ((b"",), [], []),
    }
    for name, (blocks, times, interfaces) in cases.items():
        make_capture(left_by_a_sidecar(tmp_path / name, *blocks), tmp_path / f"{name}.pcapng")
        packets = analyze([tmp_path / f"{name}.pcapng"]).packets()
        assert packets["t_ns"].to_list() == times, name
        assert packets["interface"].to_list() == interfaces, name
        assert set(packets["captured_bytes"]) <= {len(FRAME_BYTES)}
    assert sum(stats.cache_misses.values()) == compiled
    assert len(convert.signatures) == loaded == 1  # type: ignore[attr-defined]
