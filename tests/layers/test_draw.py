"""A packet as text: each byte has its layer beside it, and nothing is lost without colour."""

from __future__ import annotations

from lab.layers import Field, Layer, Packet
from lab.layers.draw import draw

PACKET = Packet(
    index=3,
    t_ns=1_700_000_000_123_456_789,
    data=b"\x00\x01ABCDEFGHIJKLMNOPQR",
    original_bytes=22,
    layers=(
        Layer(name="Ethernet", at=0, size=2, adds="who takes it", source="IEEE 802.3", fields=(
            Field(name="destination", at=0, bits=8, value="0", meaning="a " * 60),
            Field(name="source", at=1, bit=4, bits=4, value="1"),
        )),
        Layer(name="EAP", at=2, size=14, adds="more"),
        Layer(name="data", at=16, size=4, header=False),
        Layer(name="not captured", at=20, size=2, header=False),
    ),
)  # fmt: skip


def lines(width: int = 100) -> list[str]:
    return [str(line) for line in draw(PACKET, "Packet 3", width=width)]


def test_the_layers_add_up_to_the_frame() -> None:
    assert "  2 + 14 + 4 + 2 = 22 bytes" in lines()
    assert "  2 bytes of headers for 18 bytes of EAP and data" in lines()


def test_every_byte_has_the_letter_of_its_layer_and_no_two_layers_share_one() -> None:
    drawn = lines()
    (heading,) = [number for number, line in enumerate(drawn) if line.startswith("Bytes (")]
    assert drawn[heading] == "Bytes (E Ethernet, A EAP, D data)"
    assert drawn[heading + 1].endswith("..ABCDEFGHIJKLMN  EEAAAAAAAAAAAAAA")
    assert drawn[heading + 2].split() == ["16", "4f", "50", "51", "52", "OPQR", "DDDD"]


def test_bits_and_bytes_are_placed_and_a_long_meaning_is_folded_under_itself() -> None:
    drawn = lines()
    (first,) = [line for line in drawn if "destination" in line]
    assert first.split()[:4] == ["0", "1", "byte", "destination"]
    assert any(line.split()[:4] == ["1.4", "4", "bits", "source"] for line in drawn)
    folded = drawn[drawn.index(first) + 1]
    assert folded.index("a") == first.index("a a")
    assert all(len(line) <= 80 for line in lines(80))


def test_the_time_is_told_to_the_nanosecond() -> None:
    assert "  2023-11-14 22:13:20.123456789 UTC, 22 bytes on the wire" in lines()
