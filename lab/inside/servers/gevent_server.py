"""gevent: blocking code that switches instead of blocking.

**What it is.** A greenlet is a thread without the kernel: a stack of its own, in one thread, switched by hand in C
(the used part of the stack is copied aside and back). gevent's sockets look blocking. `recv` tries the system call;
on EAGAIN it registers the socket with the loop (libev), switches to another greenlet, and returns when its own turn
has come.

**What the kernel does and the program waits in.** epoll_wait, inside the hub, a greenlet like the others.

**Why.** The code of `threaded_server.py` stays as it is, without threads: no `async`, no `await`, libraries can be
patched to take part (`gevent.monkey`; not used here, so that it stays visible who waits).

**What it costs.** Some 10 KB a connection (stack slices, greenlet, watchers), and a switch a message, cheaper than a
thread's.

**Where it breaks.** Invisible switches: any call may let others run, so shared data changes between two lines that
look whole. And what is not patched blocks everybody, silently.

www.gevent.org; greenlet.readthedocs.io.
"""

from __future__ import annotations

import socket
from typing import Any

from lab.inside.servers.startup import ACCEPT_PAUSE_S, ENDED, Server, run


def serve(server: Server, listener: socket.socket) -> None:
    """Accept in one greenlet, listen for the stop in another, and serve each client in one of its own."""
    import gevent  # only this model needs it
    import gevent.pool
    import gevent.socket

    accepting = gevent.socket.socket(fileno=listener.detach())
    clients = gevent.pool.Group()
    accept_for_ever = gevent.spawn(accept, server, accepting, clients)
    while not server.stopping:
        gevent.socket.wait_read(server.signals.wakeup_fd)
        server.signals.clear_wakeup()
    accept_for_ever.kill()
    accepting.settimeout(0)
    accept(server, accepting, clients)  # what is left in the accept queue
    accepting.close()
    server.end_input()
    while clients:
        clients.join(timeout=0.05)


def accept(server: Server, listener: Any, clients: Any) -> None:
    """Give every client a greenlet; ends only when the listener does not wait (timeout 0) and nobody is there."""
    import gevent

    while True:
        try:
            connection, _address = listener.accept()  # looks blocking; lets others run meanwhile
        except BlockingIOError:
            return
        except OSError as error:
            server.accept_failed(error)
            if server.stopping:
                return
            gevent.sleep(ACCEPT_PAUSE_S)
            continue
        connection.settimeout(None)
        server.count.opened()
        clients.spawn(talk, server, server.log(connection))


def talk(server: Server, connection: Any) -> None:
    """Answer one client until it closes; word for word the threaded server's loop, but for the sleep."""
    import gevent

    conversation, count = server.conversation(connection), server.count
    try:
        while data := connection.recv(server.settings.recv_size):
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    gevent.sleep(server.service.pause_s)
                connection.sendall(piece)
                count.bytes_out += len(piece)
    except ENDED as error:
        server.ended(error)
    finally:
        connection.close()
        count.closed += 1


if __name__ == "__main__":
    run("gevent", serve)
