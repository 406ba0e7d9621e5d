"""Producers and a consumer: threads that receive, one that answers, and a bounded queue between them.

**Why a queue.** Receiving and answering have different speeds. With a queue between them a burst is taken in at once
and worked off later, and neither side knows the other: who puts need not know who takes. `queue.Queue` is a deque with
a mutex and two conditions: a `get` on the empty queue sleeps until somebody has put, a `put` on the full one until
somebody has taken.

**Why bounded.** A queue smooths a burst; it cannot make up for a consumer that is slower all the time. Without a bound
it grows until the memory ends, and everything in it grows old. With a bound, the producer waits in `put`. While it
waits it does not call recv; so the kernel's receive buffer fills, the window that TCP announces shrinks to zero, and
the client's send blocks. The bound in this program stops the program at the other end of the network, without a line
of code for it: back-pressure (RFC 9293 3.8.6).

**What the program waits in.** The main thread in accept, each producer in recv or in `put`, the consumer in `get` or in
send. A connection's last message is followed by a mark that it has ended, so the consumer closes it when all before
that is answered: with one queue the order needs no other care.

**What it costs.** Two switches more a message than a thread per connection alone, and the lock of the queue.

**Where it breaks.** One consumer answers for all: a client that does not read its answers blocks it, and everybody
waits behind. With several consumers the answers of one connection could overtake each other.

queue in the Python library reference; tcp(7).
"""

from __future__ import annotations

import queue
import socket
import threading
import time

from lab.inside.servers.conversation import Conversation
from lab.inside.servers.startup import ENDED, Server, run
from lab.inside.servers.threaded_server import a_thread_each

END = None
"""Stands in the queue behind a connection's last message."""
Jobs = queue.Queue[tuple[socket.socket, bytes | None] | None]
"""A connection and a message of it; None alone: no connection is left."""


def serve(server: Server, listener: socket.socket) -> None:
    """Give every client a producer until the stop; then let the consumer empty the queue."""
    jobs: Jobs = queue.Queue(maxsize=server.settings.queue)
    consumer = threading.Thread(target=consume, args=(server, jobs), daemon=True)
    consumer.start()

    def make(connection: socket.socket, threads: set[threading.Thread]) -> threading.Thread:
        return threading.Thread(target=produce, args=(server, connection, jobs, threads), daemon=True)

    a_thread_each(server, listener, make)
    jobs.put(None)
    consumer.join()


def produce(server: Server, connection: socket.socket, jobs: Jobs, threads: set[threading.Thread]) -> None:
    """Receive from one client and put its messages into the queue, until it closes."""
    with server.tally.part() as count:
        conversation: Conversation = server.conversation(connection, count)
        try:
            while data := connection.recv(server.settings.recv_size):
                messages, broken = conversation.take(data)
                for message in messages:
                    jobs.put((connection, message))  # waits here while the queue is full: nobody receives
                if broken is not None:
                    raise broken
        except ENDED as error:
            server.ended(error, count)
        finally:
            jobs.put((connection, END))
            threads.discard(threading.current_thread())


def consume(server: Server, jobs: Jobs) -> None:
    """Take messages out of the queue and answer them, one after the other."""
    broken: set[socket.socket] = set()
    server.extra["queue_peak"] = 0
    with server.tally.part() as count:
        while True:
            server.extra["queue_peak"] = max(server.extra["queue_peak"], jobs.qsize())
            job = jobs.get()
            if job is None:
                return
            connection, message = job
            if message is END:
                broken.discard(connection)
                connection.close()
                count.closed += 1
            elif connection not in broken:
                try:
                    for piece in server.service.pieces([message]):
                        if server.service.pause_s:
                            time.sleep(server.service.pause_s)  # everybody's messages wait
                        connection.sendall(piece)
                        count.bytes_out += len(piece)
                except ENDED as error:
                    broken.add(connection)  # what is left of it in the queue has nobody to be answered to
                    server.ended(error, count)


if __name__ == "__main__":
    run("producer-consumer", serve)
