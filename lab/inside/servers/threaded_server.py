"""The threaded server: a thread per connection, each blocked in its own recv.

**What the kernel does.** A thread is a task like a process, made by clone(2), that shares memory and descriptors with
its siblings. When a segment arrives the kernel wakes exactly the thread that sleeps on that socket: the scheduler
*is* the event loop, and every connection's state is simply where its thread stands in the code.

**What the program waits in.** The main thread in accept, each other one in recv or send. All wait, none hinders
another.

**What it costs.** A kernel stack (16 KB) and task structure, a user stack (8 MB of addresses, of which some 20 KB are
ever touched), and two context switches per message. In Python the interpreter lock is released around every system
call, so that waiting overlaps; but after it the thread must get the lock again, and with a computing handler all
threads together still compute on one core.

**Where it breaks.** Around thousands: memory, the scheduler's work, and limits met in the middle of accept
(RLIMIT_NPROC, the container's pids limit, kernel.threads-max: "can't start new thread"). A slow client costs a whole
thread (the Slowloris attack lives on that).

clone(2), pthreads(7), pthread_create(3).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run

Make = Callable[[socket.socket, set[threading.Thread]], threading.Thread]
"""Makes the thread of a connection, not started; it takes itself out of the set of living ones when it ends."""


def serve(server: Server, listener: socket.socket) -> None:
    """Give every client a thread until the stop; then wait for the threads."""

    def make(connection: socket.socket, threads: set[threading.Thread]) -> threading.Thread:
        # Daemon: a thread that a client keeps blocked must not keep the process at its end.
        return threading.Thread(target=talk, args=(server, connection, threads), daemon=True)

    a_thread_each(server, listener, make)


def a_thread_each(server: Server, listener: socket.socket, make: Make) -> None:
    """Let `make` make a thread for every client until the stop; then wait for the threads."""
    server.stop_while_blocked(listener)
    threads: set[threading.Thread] = set()
    while True:
        try:
            connection, _address = listener.accept()
        except BlockingIOError:
            break  # the stop has come, and the accept queue is empty
        except OSError as error:
            server.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
            continue
        thread = make(connection, threads)
        threads.add(thread)
        server.admit(connection, open_now=len(threads))
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had: this client is sent away
            threads.discard(thread)
            connection.close()
            server.count.closed += 1
            server.count.refused += 1
            server.accept_failed(error, pause_s=ACCEPT_PAUSE_S)
    for thread in list(threads):
        thread.join()


def talk(server: Server, connection: socket.socket, threads: set[threading.Thread]) -> None:
    """Answer one client until it closes; runs in a thread of its own."""
    with server.tally.part() as count:  # this thread's own counters: += on shared ones would lose counts
        conversation = server.conversation(connection, count)
        try:
            while data := connection.recv(server.settings.recv_size):
                for piece in conversation.respond(data):
                    if server.service.pause_s:
                        time.sleep(server.service.pause_s)  # only this client waits
                    connection.sendall(piece)
                    count.bytes_out += len(piece)
        except ENDED as error:
            server.ended(error, count)
        finally:
            connection.close()
            count.closed += 1
            threads.discard(threading.current_thread())


if __name__ == "__main__":
    run("threads", serve)
