"""The UDP server: one datagram after another, blocking.

**What the kernel does.** UDP adds ports and a checksum to IP, and nothing else: no connection, no order, no
retransmission, no flow control. A datagram that arrives is put whole into the socket's receive buffer, with its
sender's address; if the buffer is full it is thrown away, and only counters tell (`dropped` here, UdpRcvbufErrors in
/proc/net/snmp).

**Boundaries.** One send is one datagram is one recv: messages are never joined. A recv with too small a buffer gets
the datagram's beginning, and the rest is lost (MSG_TRUNC, which recvmsg reports and plain recv does not).

**What the program waits in.** recvmsg. One socket serves all clients, so "one at a time" means one datagram, not one
client: a blocking loop is no shame here as long as the handler is quick.

**What it costs.** Two system calls a message; nothing at all per client.

**Where it breaks.** When datagrams come faster than they are answered, for longer than the receive buffer lasts
(212,992 bytes by default, counted with overhead: some 270 small datagrams).

udp(7), recvmsg(2), sendto(2).
"""

from __future__ import annotations

import socket
import time

from lab.inside.servers.startup import Server, run
from lab.inside.servers.udp_common import read_dropped, send_to


def serve(server: Server, sock: socket.socket) -> None:
    """Answer datagrams until the stop and the receive buffer's end."""
    server.stop_while_blocked(sock)
    count = server.count
    while True:
        try:
            data, _ancillary, flags, peer = sock.recvmsg(server.settings.recv_size)
        except BlockingIOError:
            break  # the stop has come, and the receive buffer is empty
        if flags & socket.MSG_TRUNC:
            count.truncated += 1
        for piece in server.service.answer_datagram(data, count):
            if server.service.pause_s:
                time.sleep(server.service.pause_s)
            send_to(sock, piece, peer, count)
    count.dropped = read_dropped(sock)


if __name__ == "__main__":
    run("udp", serve)
