"""No bytes crash the analysis: random bytes, cut captures, captures with bytes changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.analysis import analyze
from tests.analysis.test_corpus import CASES, input_of

WHOLE = [input_of(case).read_bytes() for case in CASES]
MAGICS = [b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b""]
BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(folder: Path, data: bytes) -> None:
    """Analyse the bytes: an error is a value, and every table can be made."""
    path = folder / "fuzzed"
    path.write_bytes(data)
    analysis = analyze([path])
    assert len(analysis.errors) <= 1
    assert analysis.packets().height == analysis.packet_count
    assert analysis.connections["id"].to_list() == list(range(analysis.connections.height))
    assert analysis.flows["id"].to_list() == list(range(analysis.flows.height))


@BOUNDED
@given(magic=st.sampled_from(MAGICS), data=st.binary(max_size=400))
def test_random_bytes_are_survived(tmp_path: Path, magic: bytes, data: bytes) -> None:
    survives(tmp_path, magic + data)


@BOUNDED
@given(data=st.sampled_from(WHOLE), keep=st.floats(0, 1))
def test_captures_cut_anywhere_are_survived(tmp_path: Path, data: bytes, keep: float) -> None:
    survives(tmp_path, data[: int(len(data) * keep)])


@BOUNDED
@given(data=st.sampled_from(WHOLE), changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=12))
def test_captures_with_bytes_changed_are_survived(
    tmp_path: Path, data: bytes, changes: list[tuple[float, int]]
) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    survives(tmp_path, bytes(damaged))


@pytest.mark.parametrize("linktype", [0, 1, 12, 101, 108, 113, 228, 229, 276, 147])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packets=st.lists(st.binary(max_size=90), max_size=5))
def test_random_packets_of_every_link_are_survived(tmp_path: Path, linktype: int, packets: list[bytes]) -> None:
    from tests.pcaps.craft import START_NS, write_pcap

    path = tmp_path / "made"
    versions = [b"\x45" + data if linktype in (12, 101, 228) else data for data in packets]
    write_pcap(path, [(START_NS + n, data) for n, data in enumerate(versions)], linktype=linktype)
    survives(tmp_path, path.read_bytes())
