"""The thread pool: a fixed number of threads; client number pool+1 waits until one of them is free.

**Why.** A thread per connection has no upper bound but the machine's, and it meets that bound when load is highest. A
pool decides beforehand: memory and switching are bounded, and threads are made once instead of once a connection.

**What the program waits in.** The main thread in accept; it hands each connection to the executor's queue. A worker
takes one off and serves it, blocked in recv and send, until that client closes.

**What it costs.** As `threaded_server.py`, but for at most `--pool` clients at a time.

**Where it breaks.** A pool of blocked threads is full whether its clients work or idle: with N idle clients it is
dead for all others. Client N+1 is connected (the kernel did that), even accepted, and its bytes lie in its receive
buffer, yet nobody answers. Pools suit short requests, not long connections; for those, wait for readiness first
(select, epoll) and give only the work to a pool.

pthreads(7), concurrent.futures in the Python library reference.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Queue every client for the pool until the stop; then let the pool empty its queue."""
    server.stop_while_blocked(listener)
    open_connections: set[socket.socket] = set()
    with ThreadPoolExecutor(server.settings.pool, thread_name_prefix="client") as pool:
        while True:
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                break  # the stop has come, and the accept queue is empty
            except OSError as error:
                server.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
                continue
            open_connections.add(connection)
            server.admit(connection, open_now=len(open_connections))
            pool.submit(talk, server, connection, open_connections)


def talk(server: Server, connection: socket.socket, open_connections: set[socket.socket]) -> None:
    """Answer one client until it closes; runs in a thread of the pool."""
    with server.tally.part() as count:
        conversation = server.conversation(connection, count)
        try:
            while data := connection.recv(server.settings.recv_size):
                for piece in conversation.respond(data):
                    if server.service.pause_s:
                        time.sleep(server.service.pause_s)
                    connection.sendall(piece)
                    count.bytes_out += len(piece)
        except ENDED as error:
            server.ended(error, count)
        finally:
            open_connections.discard(connection)
            connection.close()
            count.closed += 1


if __name__ == "__main__":
    run("thread-pool", serve)
