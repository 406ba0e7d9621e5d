"""trio: structured concurrency. A task per connection, and no task outlives the block that started it.

**What the kernel does.** epoll, level-triggered with one-shot waits: trio registers a socket only while a task waits
for it.

**What the program waits in.** The loop in epoll_wait; each client's task at `await`. trio's calls try the system call
first and wait for readiness only if it says EAGAIN.

**Why.** asyncio's tasks float free: one that fails unseen is lost, and stopping means to find them all. A trio
*nursery* is a block that ends only when all tasks started in it have ended, and an error in one cancels the others
and comes out of the block. Where control flow is a tree, "stop" is simply leaving the block.

**What it costs.** A checkpoint at every await (may I be cancelled? is it others' turn?), and an epoll_ctl for each
wait: of the Python loops the most orderly and the slowest a message.

**Where it breaks.** As all event loops: a call that blocks holds up everybody.

trio.readthedocs.io; N. J. Smith, "Notes on structured concurrency".
"""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Any

from lab.inside.framing import FramingError
from lab.inside.servers.startup import ACCEPT_PAUSE_S, RESET, Server, readable, run

if TYPE_CHECKING:
    import trio


def serve(server: Server, listener: socket.socket) -> None:
    """Run a trio loop until the stop."""
    import trio  # only this model needs it

    signal.set_wakeup_fd(-1)  # trio brings a descriptor of its own to hear of signals
    trio.run(main, server, listener)


async def main(server: Server, listener: socket.socket) -> None:
    """Start a task per connection in one nursery; leave when the last has ended after the stop."""
    import trio

    listener = socket.socket(fileno=listener.detach())  # trio puts a class of its own round this very one
    listener.setblocking(False)
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with trio.open_nursery() as clients:
        with trio.CancelScope() as until_stop:
            token = trio.lowlevel.current_trio_token()
            server.when_stopping(lambda: _cancel_soon(token, until_stop))
            await accept(server, accepting, clients)
        while not server.cut and readable(listener):  # what is left in the accept queue
            with trio.move_on_after(0.05):
                await accept_one(server, accepting, clients)
        await accepting.aclose()
        server.end_input()
        # The nursery's block ends here, and waits for every client's task.


def _cancel_soon(token: Any, until_stop: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        token.run_sync_soon(until_stop.cancel)


async def accept(server: Server, listener: trio.SocketListener, clients: trio.Nursery) -> None:
    """Accept for ever."""
    while True:
        await accept_one(server, listener, clients)


async def accept_one(server: Server, listener: trio.SocketListener, clients: trio.Nursery) -> None:
    """Take one connection and give it a task."""
    import trio

    try:
        stream = await listener.accept()
    except OSError as error:
        server.accept_failed(error)
        await trio.sleep(ACCEPT_PAUSE_S)
        return
    server.count.opened()
    stream.socket = server.log_awaited(stream.socket)
    clients.start_soon(talk, server, stream)


async def talk(server: Server, stream: trio.SocketStream) -> None:
    """Answer one client until it closes; a task of its own."""
    import trio

    conversation, count = server.conversation(stream), server.count
    try:
        while data := await stream.receive_some(server.settings.recv_size):
            for piece in conversation.respond(data):
                if server.service.pause_s:
                    await trio.sleep(server.service.pause_s)
                await stream.send_all(piece)  # waits while the client does not read: back-pressure by itself
                count.bytes_out += len(piece)
    except trio.BrokenResourceError as error:  # trio's word for a broken connection; the cause says how
        server.ended(error.__cause__ if isinstance(error.__cause__, OSError) else OSError(RESET[0], "broken"))
    except FramingError as error:
        server.ended(error)
    finally:
        await stream.aclose()
        count.closed += 1


if __name__ == "__main__":
    run("trio", serve)
