"""One end of the conversation between the lab and the holder: JSON lines over a Unix socket, with descriptors.

Both ends are the same class. Nothing here blocks but `wait`: what cannot be sent yet stays in `pending` until `flush`.
"""

from __future__ import annotations

import array
import json
import select
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_READ_BYTES = 1 << 18
_MAX_DESCRIPTORS = 3  # standard input, output and error of a command


class Channel:
    """A connected Unix stream socket that carries messages."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._received_descriptors: list[int] = []

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    @property
    def pending(self) -> int:
        """Bytes that wait for the other end to read."""
        return len(self._outgoing)

    def put(self, message: Message) -> None:
        """Queue a message and send what goes at once."""
        self._outgoing += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.flush()

    def put_with_descriptors(self, message: Message, descriptors: Sequence[int], timeout_s: float) -> None:
        """Send a message whole, with open descriptors for the other end. Raises ConnectionError."""
        self.send_all(timeout_s)
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        sent = self._connection.sendmsg([line], rights)
        self._outgoing += line[sent:]
        self.send_all(timeout_s)

    def flush(self) -> None:
        """Send as much of what is pending as goes without waiting. Raises ConnectionError."""
        while self._outgoing:
            try:
                sent = self._connection.send(self._outgoing)
            except BlockingIOError:
                return
            del self._outgoing[:sent]

    def send_all(self, timeout_s: float) -> None:
        """Send all that is pending. Raises ConnectionError, also when the other end does not read in time."""
        self.flush()
        while self._outgoing:
            if not self.wait(timeout_s, select.POLLOUT):
                raise ConnectionError(f"the other end read nothing for {timeout_s} s")
            self.flush()

    def wait(self, timeout_s: float, events: int = select.POLLIN) -> bool:
        """Wait until the other end has written (or hung up); False when the time has passed."""
        poll = select.poll()
        poll.register(self.fileno(), events)
        return bool(poll.poll(max(0, round(timeout_s * 1000))))

    def read(self) -> list[Message]:
        """Return the messages that have come in whole. Raises ConnectionError when the other end is gone.

        A message that came with descriptors has them, in order, under `descriptors`.
        """
        try:
            data, ancillary, _flags, _address = self._connection.recvmsg(
                _READ_BYTES, socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionError("the other end hung up")
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self._received_descriptors += received
        self._incoming += data
        end = self._incoming.rfind(b"\n")
        if end < 0:
            return []
        lines = bytes(self._incoming[:end]).split(b"\n")
        del self._incoming[: end + 1]
        messages: list[Message] = [json.loads(line) for line in lines]
        for message in messages:
            if message.pop("with_descriptors", False):
                message["descriptors"] = self._received_descriptors[:_MAX_DESCRIPTORS]
                del self._received_descriptors[:_MAX_DESCRIPTORS]
        return messages
