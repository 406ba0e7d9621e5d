"""The actor: makes the socket calls of its host's steps in a script, each in its turn, and tells how they ended.

    python -m lab.inside.script.actor --plan '{"name": "client", "steps": [...]}'

Goes in: the steps of one host (`turns.py`), with hosts already resolved to addresses. Comes out: an event `step` for
each, and `actor.json` with every step's outcome, errno, bytes, times, each send and recv with its stream offset, and
the sockets seen by each `look`; and `boundaries-actor.json` (`boundary_log.py`). After its last step it keeps its
sockets open until the stop: what the script does not close is never closed inside the recorded time.

A step with `wait: false` runs in its socket's line: a thread that makes the calls of one socket one after the other,
while the script goes on. So a `recv` followed by a `close` in one line closes the moment the other side's FIN is read.
"""

from __future__ import annotations

import errno
import queue
import sys
import threading
import time

from lab.inside import lifecycle
from lab.inside.arguments import read_arguments
from lab.inside.boundary_log import BoundaryLog
from lab.inside.frozen import as_dict
from lab.inside.script import calls, datagram_calls, neighbours, routes
from lab.inside.script.calls import Deadline, Held
from lab.inside.script.kernel_sockets import KernelSocket, find_socket, read_sockets
from lab.inside.script.tcp_info import read_tcp_info
from lab.inside.script.turns import BLOCKS, PLAN, Log, Outcome, Step, failed, finish, run_turns, stay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PROGRAM = "actor"
LOGGED = 1000
"""Connections whose boundaries are logged: more than a script has names for."""
_AWAIT_STEP_S = 0.001
"""Between two looks at the kernel's sockets while waiting for one to change."""


class Actor:
    """The sockets of one host in a script."""

    def __init__(self, signals: lifecycle.Signals, log: Log) -> None:
        self._signals = signals
        self._log = log
        self.boundaries = BoundaryLog(LOGGED)
        self._held: dict[str, Held] = {}
        self._lines: dict[str, queue.SimpleQueue[Callable[[], object]]] = {}
        self._perform: dict[str, Callable[[Step, Deadline], Outcome]] = {
            "listen": self._listen,
            "connect": self._connect,
            "accept": self._accept,
            "bind": self._bind,
            "send": lambda step, deadline: self._calls(step).send(self._socket(step), step, deadline),
            "recv": lambda step, deadline: self._calls(step).recv(self._socket(step), step, deadline),
            "shutdown": lambda step, _: self._plain(calls.shut_down, self._socket(step), step["how"]),
            "close": lambda step, _: self._plain(self._socket(step).sock.close),
            "abort": lambda step, _: self._plain(calls.abort, self._socket(step)),
            "set-option": lambda step, _: self._plain(
                calls.set_option, self._socket(step).sock, step["option"], int(step["value"])
            ),
            "pause": self._pause,
            "await": self._await,
            "look": self._look,
            "join": self._join,
            "cut": lambda step, _: self._plain(
                neighbours.cut, step["address"], neighbours.interface_towards(step["address"])
            ),
            "mend": lambda step, _: self._plain(
                neighbours.mend, step["address"], neighbours.interface_towards(step["address"])
            ),
            "route": lambda step, _: self._plain(routes.add_route, step["address"], step["gateway"]),
        }

    def perform(self, step: Step) -> bool:
        """Make one step, or begin it; False if it went otherwise than written."""
        self._log.begin(step)
        if step["do"] == "connect":
            try:
                udp = step.get("protocol") == "udp"
                self._hold(step, datagram_calls.connect(step) if udp else calls.begin_connect(step))
            except OSError as error:
                return self._log.end(step, failed(error))
        if step.get("wait", True):
            return self._finish(step)
        line = step.get("socket") or step["as"]
        if line not in self._lines:
            self._lines[line] = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(self._lines[line],), name=line, daemon=True).start()
        self._log.tell_begun(step)
        self._lines[line].put(lambda: self._finish(step))
        return True

    def _finish(self, step: Step) -> bool:
        try:
            outcome = self._perform[step["do"]](step, Deadline(step["within"]))
        except OSError as error:
            outcome = failed(error)
        return self._log.end(step, outcome)

    @staticmethod
    def _work(line: queue.SimpleQueue[Callable[[], object]]) -> None:
        while True:
            line.get()()

    def _socket(self, step: Step) -> Held:
        if step["socket"] not in self._held:
            raise OSError(errno.EBADF, f"no socket `{step['socket']}`: the step that makes it made none")
        return self._held[step["socket"]]

    def _hold(self, step: Step, held: Held) -> None:
        held.open_log = self.boundaries.open
        self._held[step["as"]] = held

    def _calls(self, step: Step) -> Any:
        """Return the module whose calls fit the step's socket."""
        return datagram_calls if self._socket(step).protocol == "udp" else calls

    @staticmethod
    def _plain(call: Callable[..., None], *arguments: Any) -> Outcome:
        call(*arguments)
        return Outcome()

    # --- the steps that are more than one call --------------------------------------------------------------------

    def _listen(self, step: Step, _deadline: Deadline) -> Outcome:
        self._hold(step, calls.listen(step))
        return Outcome()

    def _bind(self, step: Step, _deadline: Deadline) -> Outcome:
        self._hold(step, datagram_calls.bind(step))
        return Outcome()

    def _connect(self, step: Step, deadline: Deadline) -> Outcome:
        return calls.end_connect(self._held[step["as"]], deadline)

    def _accept(self, step: Step, deadline: Deadline) -> Outcome:
        held, outcome = calls.accept(self._socket(step), deadline)
        if held is not None:
            self._hold(step, held)
        return outcome

    def _pause(self, step: Step, _deadline: Deadline) -> Outcome:
        deadline = Deadline(step["duration"])
        while deadline.left_s() and not self._signals.stopping:
            self._signals.wait(deadline.left_s())
        return Outcome()

    def _await(self, step: Step, deadline: Deadline) -> Outcome:
        held = self._socket(step)
        while True:
            found = find_socket(held.local, held.remote, read_sockets())
            seen = found.state if found is not None else "CLOSED"
            if _is_as_described(step, found):
                return Outcome(details={"state": seen})
            if not deadline.left_s() or self._signals.stopping:
                last = as_dict(found) if found is not None else "CLOSED"
                return Outcome(outcome=BLOCKS, details={"state": seen, "error": f"last seen: {last}"})
            time.sleep(_AWAIT_STEP_S)

    def _look(self, _step: Step, _deadline: Deadline) -> Outcome:
        names = {(held.local, held.remote): name for name, held in self._held.items()}
        rows = []
        for one in read_sockets():
            local, remote = (one.local_addr, one.local_port), (one.remote_addr, one.remote_port)
            name = names.get((local, None if one.state == "LISTEN" else remote))
            rows.append({**as_dict(one), "socket": name, **self._info(name, one)})
        return Outcome(details={"sockets": rows})

    def _info(self, name: str | None, one: KernelSocket) -> dict[str, int]:
        if name is None or one.state in ("LISTEN", "TIME-WAIT", "SYN-RECEIVED"):
            return {}
        try:
            return read_tcp_info(self._held[name].sock)
        except OSError:  # closed by the script: the kernel's table is all there is
            return {}

    def _join(self, step: Step, deadline: Deadline) -> Outcome:
        return Outcome() if self._log.wait_for(step["step"], deadline.left_s()) else Outcome(outcome=BLOCKS)


def _is_as_described(step: Step, found: KernelSocket | None) -> bool:
    """Say whether a socket is in the state, has the queues and the timer that the step names."""
    if found is None:
        return step.get("state") == "CLOSED"
    wanted = {key: step[key] for key in ("state", "timer", "send_queue", "recv_queue") if step.get(key) is not None}
    if step.get("accept_queue") is not None:
        wanted["recv_queue"] = step["accept_queue"]  # the kernel shows it there
    return all(getattr(found, key) == value for key, value in wanted.items()) and (
        max(found.retransmits, found.probes) >= (step.get("retransmits") or 0)
    )


def main(arguments: list[str] | None = None) -> int:
    plan = read_arguments("script.actor", "Make the socket calls of one host in a script.", [PLAN], arguments)["plan"]
    signals = lifecycle.Signals()
    log = Log(PROGRAM)
    actor = Actor(signals, log)
    lifecycle.ready(PROGRAM, name=plan["name"], steps=len(plan["steps"]))
    run_turns(plan["steps"], signals, log, actor.perform)
    stay(signals)
    finish(PROGRAM, plan["name"], log)
    actor.boundaries.store(PROGRAM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
