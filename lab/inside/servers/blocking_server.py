"""The blocking server: accept one client, serve it until it closes, accept the next. The shortest server there is.

**What the kernel does.** listen(2) gives the socket two queues. A SYN goes into the SYN queue; when the handshake is
complete the connection moves to the accept queue, and the kernel did all that by itself. So a second client
*connects* at once, and what it sends is received and acknowledged into its receive buffer, while this program knows
nothing of it yet. accept(2) only takes a finished connection off the queue.

**What the program waits in.** accept, recv or send, one at a time. A blocked call is a sleep in the kernel: the
thread leaves the run queue and costs nothing until the very thing it waits for happens.

**What it costs.** Two system calls a message, no bookkeeping: for one client nothing is faster.

**Where it breaks.** With the second client. Its first answer waits until the first client has closed; a first client
that never sends and never closes keeps everybody out. When the accept queue is full (backlog, clamped to
net.core.somaxconn) further handshakes stall: the last ACK is dropped and clients retransmit.

socket(7), accept(2), listen(2), recv(2), tcp(7).
"""

from __future__ import annotations

import socket
import time

from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Serve one client after another until the stop."""
    server.stop_while_blocked(listener)
    while True:
        try:
            connection, _address = listener.accept()
        except BlockingIOError:
            return  # the stop has come, and the accept queue is empty
        except OSError as error:
            server.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
            continue
        server.admit(connection)
        talk(server, connection)


def talk(server: Server, connection: socket.socket) -> None:
    """Answer one client until it closes."""
    conversation, count = server.conversation(connection), server.count
    try:
        while data := connection.recv(server.settings.recv_size):  # b"" is the client's FIN
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    time.sleep(server.service.pause_s)
                connection.sendall(piece)  # blocks while the client does not read: back-pressure by itself
                count.bytes_out += len(piece)
    except ENDED as error:
        server.ended(error)
    finally:
        connection.close()
        count.closed += 1


if __name__ == "__main__":
    run("blocking", serve)
