"""The same loop with a pool of processes: whoever computes an answer has an interpreter, and a core, of its own.

**What submit does here.** `ProcessPoolExecutor.submit` pickles the call and its arguments and writes them into a pipe;
a worker reads, calls, and writes the pickled result into another pipe; a thread of the parent reads that and completes
the future. So only what can be pickled crosses: a message as bytes, a function by its name. A lambda, a socket, a lock
do not. The handler is therefore built in each worker, once, by the pool's `initializer`.

**What is shared.** Nothing. A handler that counts, counts in each worker apart, and which worker gets a message is
nobody's choice.

**How the workers come to be.** By fork(2), all of them before the loop starts and before any thread exists: the child
of a program with threads would inherit their locks, held by nobody. They ignore the stop, which is the parent's
affair, and the kernel ends them if the parent is killed (prctl(2), PR_SET_PDEATHSIG).

**What it costs.** Two copies through pipes, pickling, and four switches a message, some 200 us: it pays for answers
that take milliseconds to compute.

**Where it breaks.** A worker that is killed breaks the pool: every call, waiting or to come, fails with
BrokenProcessPool. The server meets that with the next message, says so and stops.

The loop, futures and callbacks: `executor_threads_server.py`.

fork(2), pipe(2), concurrent.futures in the Python library reference, "ProcessPoolExecutor".
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
from concurrent.futures import ProcessPoolExecutor

from lab.inside.framing import parse_framing
from lab.inside.handlers import parse_handler
from lab.inside.servers.children import die_with
from lab.inside.servers.conversation import Service
from lab.inside.servers.executor_threads_server import answer, main
from lab.inside.servers.startup import Server, run

THE_PARENTS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that mean the server as a whole."""

service: Service
"""Of a worker: set by `prepare`."""


def serve(server: Server, listener: socket.socket) -> None:
    """Run a loop beside a pool of processes until the stop."""
    settings = server.settings
    pool = ProcessPoolExecutor(
        settings.pool,
        mp_context=multiprocessing.get_context("fork"),
        initializer=prepare,
        initargs=(settings.framing.text, settings.handler.text, os.getpid()),
    )
    with pool:
        pool.submit(os.getpid).result()  # the first call forks all workers
        for process in multiprocessing.active_children():
            assert process.pid is not None
            server.children.adopt(process.pid, server.children.take_row())
        asyncio.run(main(server, listener, lambda message: pool.submit(work, message)))
        server.children.remember_memory()
    for pid in server.children.pids:  # joined by the pool
        server.children.forget(pid)


def prepare(framing: str, handler: str, parent: int) -> None:
    """Make a worker of a forked child."""
    global service
    signal.set_wakeup_fd(-1)  # the parent's pipe
    for number in THE_PARENTS:
        signal.signal(number, signal.SIG_IGN)
    die_with(parent, signal.SIGKILL)
    service = Service(parse_framing(framing), parse_handler(handler))


def work(message: bytes) -> list[bytes]:
    """What crosses by its name: answer one message, in a worker."""
    return answer(service, message)


if __name__ == "__main__":
    run("executor-processes", serve)
