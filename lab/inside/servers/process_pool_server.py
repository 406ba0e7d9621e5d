"""The pre-forking server: a fixed number of processes, made before any client came, that share one listening socket.

**What the kernel does.** All children inherited the same open listener and all sleep in accept on it. When a
connection is ready the kernel wakes one of them only (exclusive wait; long ago it woke all, the "thundering herd",
and all but one slept again). Which one is the kernel's choice: there is no dispatcher, and no process hands
descriptors to another.

**What the program waits in.** The parent in waiting for its children; each child in accept, then in recv and send of
its client.

**What it costs.** The forks are paid at the start, not per connection; memory is bounded by the pool. As many cores
as children.

**Where it breaks.** Client number pool+1 waits, unaccepted, in the one accept queue, however idle the others are.
(SO_REUSEPORT, `--workers` of the single-process models, is the other way to share a port: a queue per process, dealt
by hash, so that a client may wait behind a busy process while another is free.)

fork(2), accept(2), socket(7) on SO_REUSEPORT.
"""

from __future__ import annotations

import socket
import time

from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run


def serve(server: Server, listener: socket.socket) -> bool:
    """Fork the pool, every child on the same listener, and keep it until the stop; True if a child failed."""
    return server.children.work_in_parallel(serve_in_child, [listener] * server.settings.pool)


def serve_in_child(server: Server, listener: socket.socket) -> None:
    """Serve one client after another; as many children do this at the same time as the pool has."""
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
        while data := connection.recv(server.settings.recv_size):
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    time.sleep(server.service.pause_s)
                connection.sendall(piece)
                count.bytes_out += len(piece)
    except ENDED as error:
        server.ended(error)
    finally:
        connection.close()
        count.closed += 1


if __name__ == "__main__":
    run("process-pool", serve)
