"""A JSON object before each message, with its length: what programs do that want to say more than a length later.

4 bytes big-endian: the length of the object; then the object, `{"length": N}` and whatever else; then N bytes.
"""

from __future__ import annotations

import json
import struct

from lab.inside.framing import LARGEST_HEADER, LARGEST_MESSAGE, Framing, FramingError


class JsonHeader(Framing):
    text = "json-header"

    def __init__(self, *, limit: int = LARGEST_MESSAGE) -> None:
        self.limit = limit

    def _mark(self, message: bytes) -> bytes:
        header = json.dumps({"length": len(message)}).encode()
        return struct.pack("!I", len(header)) + header + message

    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        if len(data) - start < 4:
            return -1, start + 4
        (header_length,) = struct.unpack_from("!I", data, start)
        if not 2 <= header_length <= LARGEST_HEADER:
            raise FramingError(
                f"framing json-header: a header of 2 to {LARGEST_HEADER} bytes is allowed, got {header_length}"
            )
        body = start + 4 + header_length
        if len(data) < body:
            return -1, body
        header = bytes(data[start + 4 : body])
        try:
            length = json.loads(header)["length"]
        except (ValueError, KeyError, TypeError, RecursionError):
            length = None
        if type(length) is not int or length < 0:
            raise FramingError(f'framing json-header: a JSON object with "length" is needed, got {header[:60]!r}')
        if length > self.limit:
            raise self._oversized(length)
        return body, body + length
