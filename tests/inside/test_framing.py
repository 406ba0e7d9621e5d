"""Framings: how a stream was cut on its way never changes the messages, and what is malformed is refused by name."""

from __future__ import annotations

import json
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.inside.framing import LARGEST_MESSAGE, Delimiter, Framing, FramingError, LengthPrefix, parse_framing
from lab.inside.http_framing import HttpFraming

# Each framing with the messages it can carry.
ANY = st.binary(max_size=200)
CARRIED: dict[str, st.SearchStrategy[bytes]] = {
    "fixed:7": st.binary(min_size=7, max_size=7),
    "fixed:1": st.binary(min_size=1, max_size=1),
    r"delimiter:\n": ANY.filter(lambda message: b"\n" not in message),
    r"delimiter:\r\n": ANY.filter(lambda message: b"\r\n" not in message),
    "delimiter:abab": ANY.filter(lambda message: (message + b"abab").find(b"abab") == len(message)),
    "length": ANY,
    "json-header": ANY,
    "http": ANY,
}
FRAMED = sorted(CARRIED)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream in pieces, cut at these offsets."""
    edges = sorted({0, len(stream), *(offset % (len(stream) + 1) for offset in cuts)})
    return [stream[start:end] for start, end in pairwise(edges)]


def fed(framing: Framing, pieces: list[bytes]) -> tuple[list[bytes], str | None, int]:
    """Messages, error, and bytes held back after feeding the pieces one by one."""
    decoder, messages = framing.decoder(), list[bytes]()
    for piece in pieces:
        try:
            messages += decoder.feed(piece)
        except FramingError as error:
            return messages + error.messages, str(error), 0
    return messages, None, decoder.kept


@pytest.mark.parametrize("text", FRAMED)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_split_of_the_stream_gives_the_same_messages(text: str, data: st.DataObject) -> None:
    framing = parse_framing(text)
    messages = data.draw(st.lists(CARRIED[text], max_size=8))
    stream = b"".join(framing.encode(message) for message in messages)
    if text == "http":  # the server encodes responses and decodes requests; a client does the reverse
        stream = b"".join(parse_framing("http", side="client").encode(message) for message in messages)
    pieces = cut(stream, data.draw(st.lists(st.integers(min_value=0), max_size=12)))

    assert fed(framing, pieces) == (messages, None, 0)


@pytest.mark.parametrize("text", FRAMED)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_split_of_any_bytes_gives_the_same_messages_and_the_same_error(text: str, data: st.DataObject) -> None:
    stream = data.draw(st.binary(max_size=120))
    pieces = cut(stream, data.draw(st.lists(st.integers(min_value=0), max_size=12)))

    whole, split = fed(parse_framing(text), [stream]), fed(parse_framing(text), pieces)

    assert (split[0], split[1] is None, split[2]) == (whole[0], whole[1] is None, whole[2])


@pytest.mark.parametrize("text", FRAMED)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_decoder_takes_nothing_past_its_message(text: str, data: st.DataObject) -> None:
    framing = parse_framing(text)
    sender = parse_framing(text, side="client")
    first, second = data.draw(CARRIED[text]), data.draw(CARRIED[text])
    start = sender.encode(second)
    start = start[: data.draw(st.integers(min_value=0, max_value=len(start) - 1))]
    decoder = framing.decoder()

    assert decoder.feed(sender.encode(first) + start) == [first]
    assert decoder.kept == len(start)


@pytest.mark.parametrize("text", FRAMED)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_taking_without_memory_agrees_with_a_decoder(text: str, data: st.DataObject) -> None:
    framing, sender = parse_framing(text), parse_framing(text, side="client")
    messages = data.draw(st.lists(CARRIED[text], min_size=1, max_size=5))
    stream = b"".join(sender.encode(message) for message in messages)
    end = data.draw(st.integers(min_value=0, max_value=len(stream)))
    taken = framing.take(stream[:end])

    assert taken.messages == fed(framing, [stream[:end]])[0]
    assert taken.used + fed(framing, [stream[:end]])[2] == end
    assert (taken.wanted > 0) == (taken.used < end)


def test_without_framing_whatever_arrives_is_a_message() -> None:
    decoder = parse_framing("none").decoder()

    assert [decoder.feed(b"two mess"), decoder.feed(b"agesjoined")] == [[b"two mess"], [b"agesjoined"]]
    assert parse_framing("none").encode(b"as it is") == b"as it is"


def test_wire_forms_are_what_the_words_say() -> None:
    assert parse_framing("length").encode(b"abc") == b"\x00\x00\x00\x03abc"
    assert parse_framing(r"delimiter:\r\n").encode(b"abc") == b"abc\r\n"
    assert parse_framing(r"delimiter:\x1e").encode(b"abc") == b"abc\x1e"
    header = json.dumps({"length": 3}).encode()
    assert parse_framing("json-header").encode(b"abc") == struct.pack("!I", len(header)) + header + b"abc"
    request = parse_framing("http", side="client").encode(b"abc")
    assert request.startswith(b"POST / HTTP/1.1\r\n")
    assert request.endswith(b"Content-Length: 3\r\n\r\nabc")


def test_a_json_header_may_carry_other_keys() -> None:
    header = b'{"name": "x", "length": 2}'
    assert parse_framing("json-header").decoder().feed(struct.pack("!I", len(header)) + header + b"ab") == [b"ab"]


@pytest.mark.parametrize(
    ("framing", "stream", "words"),
    [
        (LengthPrefix(limit=100), struct.pack("!I", 101), "at most 100 bytes"),
        (Delimiter(b"\n", limit=10), b"x" * 12, "at most 10 bytes"),
        (parse_framing("json-header"), struct.pack("!I", 1 << 20), "a header of 2 to 8192 bytes"),
        (parse_framing("json-header"), struct.pack("!I", 3) + b"[1]", '"length" is needed'),
        (parse_framing("json-header"), struct.pack("!I", 14) + b'{"length": -1}', '"length" is needed'),
        (parse_framing("json-header"), struct.pack("!I", 16) + b'{"length": true}', '"length" is needed'),
        (parse_framing("json-header"), struct.pack("!I", 4) + b"\xff\xfe{}", '"length" is needed'),
        (parse_framing("http"), b"GET / HTTP/1.1\r\n\r\n", "a POST request is needed"),
        (parse_framing("http"), b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length is needed"),
        (parse_framing("http"), b"x" * 9000, "a header of at most 8192 bytes"),
        (parse_framing("http", side="client"), b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status 200"),
    ],
)
def test_oversized_and_malformed_frames_are_refused_by_name(framing: Framing, stream: bytes, words: str) -> None:
    with pytest.raises(FramingError, match=words):
        framing.decoder().feed(stream)


def test_an_error_brings_the_messages_that_came_before_it() -> None:
    framing = LengthPrefix(limit=10)
    with pytest.raises(FramingError) as caught:
        framing.decoder().feed(framing.encode(b"good") + framing.encode(b"too") + struct.pack("!I", 11))

    assert caught.value.messages == [b"good", b"too"]


@pytest.mark.parametrize(
    ("text", "message", "words"),
    [
        ("fixed:4", b"five!", "must have 4 bytes, got 5"),
        (r"delimiter:\n", b"a\nb", "holds the delimiter at 1"),
        (r"delimiter:\n\n", b"a\n", "ends like the delimiter starts"),
        ("length", bytes(LARGEST_MESSAGE + 1), "at most"),
    ],
)
def test_a_message_that_a_framing_cannot_carry_is_refused(text: str, message: bytes, words: str) -> None:
    with pytest.raises(FramingError, match=words):
        parse_framing(text).encode(message)


@pytest.mark.parametrize(
    "text",
    ["", "lines", "fixed", "fixed:0", "fixed:x", "delimiter", "delimiter:", "length:4", "none:x", "fixed:99999999"],
)
def test_unknown_words_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"framing"):
        parse_framing(text)


def test_the_side_of_http_must_be_known() -> None:
    with pytest.raises(ValueError, match="`client` or `server`"):
        HttpFraming(side="proxy")


def test_a_message_that_arrives_byte_by_byte_costs_linear_work() -> None:
    framing = parse_framing("length")
    stream = framing.encode(bytes(200_000))
    steps = 0
    locate = framing._locate

    def counted(data: bytes | bytearray, start: int) -> tuple[int, int]:
        nonlocal steps
        steps += 1
        return locate(data, start)

    framing._locate = counted  # type: ignore[method-assign]
    decoder = framing.decoder()
    messages = [message for offset in range(len(stream)) for message in decoder.feed(stream[offset : offset + 1])]

    assert messages == [bytes(200_000)]
    assert steps < 10  # the header is parsed when it can be, not at every byte
