"""What a learning switch knows, and where it sends a frame by that."""

from __future__ import annotations

import pytest

from lab.inside.script.switch import Stations

A, B, C = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2]), bytes([2, 0, 0, 0, 0, 3])
EVERYBODY, GROUP = b"\xff" * 6, bytes([1, 0, 0x5E, 0, 0, 1])
PORTS = ["left", "right", "up"]


def frame(destination: bytes, source: bytes) -> bytes:
    return destination + source + b"\x08\x00" + bytes(46)


@pytest.mark.parametrize("destination", [B, EVERYBODY, GROUP])
def test_whom_it_does_not_know_it_floods_to_all_ports_but_the_one_it_came_by(destination: bytes) -> None:
    assert Stations().ports(frame(destination, A), "left", PORTS) == ["right", "up"]


def test_who_has_been_heard_gets_frames_at_the_one_port() -> None:
    stations = Stations()
    stations.ports(frame(EVERYBODY, A), "left", PORTS)
    assert stations.ports(frame(A, B), "right", PORTS) == ["left"]
    assert stations.ports(frame(B, A), "left", PORTS) == ["right"]


def test_a_frame_for_a_station_of_the_same_port_stays_there() -> None:
    stations = Stations()
    stations.ports(frame(EVERYBODY, A), "left", PORTS)
    assert stations.ports(frame(A, B), "left", PORTS) == []


def test_a_station_that_moves_is_found_at_its_new_port_and_the_move_is_counted() -> None:
    stations = Stations()
    for port in ("left", "left", "right", "left"):
        stations.ports(frame(EVERYBODY, A), port, PORTS)
    assert stations.moves == 2
    assert stations.ports(frame(A, B), "up", PORTS) == ["left"]


def test_a_group_is_never_learnt_as_a_station() -> None:
    stations = Stations()
    stations.ports(frame(B, GROUP), "left", PORTS)
    assert stations.ports(frame(GROUP, C), "right", PORTS) == ["left", "up"]


def test_what_is_for_switches_themselves_is_not_passed_on() -> None:
    spanning_tree, first_of_others = bytes.fromhex("0180c2000000"), bytes.fromhex("0180c2000010")
    assert Stations().ports(frame(spanning_tree, A), "left", PORTS) == []
    assert Stations().ports(frame(first_of_others, A), "left", PORTS) == ["right", "up"]


def test_a_port_that_is_unplugged_gets_nothing_even_where_the_station_was() -> None:
    stations = Stations()
    stations.ports(frame(EVERYBODY, A), "right", PORTS)
    assert stations.ports(frame(A, B), "left", ["left", "up"]) == []
