"""HTTP/1.1 as a framing: just enough that a fleet can drive an HTTP server, and a server file can be compared with one.

A message is the body of `POST / HTTP/1.1`, its answer the body of `HTTP/1.1 200 OK`; both with Content-Length and a
connection that stays open (RFC 9112 sections 6 and 9.3). What arrives may carry any other headers. Chunked bodies are
refused by name: the servers of the lab know the length of what they send.
"""

from __future__ import annotations

from lab.inside.framing import LARGEST_HEADER, LARGEST_MESSAGE, Framing, FramingError


class HttpFraming(Framing):
    text = "http"

    def __init__(self, *, side: str, limit: int = LARGEST_MESSAGE) -> None:
        if side not in ("client", "server"):
            raise ValueError(f"side: `client` or `server` is allowed, got `{side}`")
        self.side = side
        self.limit = limit

    def _mark(self, message: bytes) -> bytes:
        start = b"POST / HTTP/1.1\r\nHost: lab" if self.side == "client" else b"HTTP/1.1 200 OK"
        return b"%b\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%b" % (
            start,
            len(message),
            message,
        )

    def _locate(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        end = data.find(b"\r\n\r\n", start, start + LARGEST_HEADER)
        if end < 0:
            if len(data) - start >= LARGEST_HEADER:
                raise FramingError(f"framing http: a header of at most {LARGEST_HEADER} bytes is allowed, got more")
            return -1, len(data) + 1
        first, *lines = bytes(data[start:end]).split(b"\r\n")
        self._check_first_line(first)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length_text = headers.get(b"content-length", b"")
        if not length_text.isdigit():
            raise FramingError(
                f"framing http: a Content-Length is needed, got the header {bytes(data[start : start + 60])!r}"
            )
        length = int(length_text)
        if length > self.limit:
            raise self._oversized(length)
        return end + 4, end + 4 + length

    def _check_first_line(self, line: bytes) -> None:
        words = line.split(b" ")
        if self.side == "client":
            good = len(words) >= 2 and words[0] in (b"HTTP/1.1", b"HTTP/1.0") and words[1] == b"200"
        else:
            good = len(words) == 3 and words[0] == b"POST" and words[2].startswith(b"HTTP/1.")
        if not good:
            wanted = "a response with status 200" if self.side == "client" else "a POST request"
            raise FramingError(f"framing http: {wanted} is needed, got {line[:60]!r}")
