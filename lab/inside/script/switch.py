"""An Ethernet switch as a program: passes frames between the networks that its host is on, and learns who is where.

    python -m lab.inside.script.switch --plan '{"name": "switch-a", "interfaces": {"left": "eth0", "right": "eth1"},
    ...}'

How a switch works (IEEE 802.1D, 802.1Q). It reads every frame on every port, also those for others. From the source
address it learns on which port a station is; it looks the destination up, and sends the frame out of that port alone.
Whom it does not know, a group, and everybody (ff:ff:ff:ff:ff:ff) it floods: out of every port but the one it came by.
No station knows that there is a switch, none is configured, and no address has to say where it is. That is its charm.

Why a loop is fatal. Two switches between the same two networks, or one cable too many, make a ring. A broadcast goes
round it for ever, in both directions, and with three ways between two networks it doubles at each turn. Nothing stops
it: an Ethernet header has no time to live. An IP packet that runs in circles dies after 64 routers, since each of them
makes a new header anyway; a switch passes a frame on as it is, and a field to count in was never worth changing every
frame for (and its checksum). Each station must take every copy of a broadcast: the network is full, and its processors
too. And the switches unlearn: a station whose copies come from both sides seems to jump from port to port, so that
frames for it are lost.

What is done about it. The spanning tree protocol (STP): switches tell each other who they are (to the group
01:80:c2:00:00:00, which none passes on), agree on one as the root, and close every port that is not on the shortest
way to it. What is left is a tree, which has no ring; when a cable breaks, a closed port opens. This program has no
such thing: it is here to show why one needs it.

Bounded, since it must show it without burning the machine: it passes on at most so many frames a second, and stops
after so many in all (`most`). What comes later is read and dropped. Its ports are its host's own interfaces: nothing
reaches any other network.

Goes in: the steps of one host (`turns.py`) and the interface of each network. Comes out: an event `step` for each, and
`switch.json`. It gives up every capability once its packet sockets are open.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
import time

from lab.inside import lifecycle
from lab.inside.arguments import read_arguments
from lab.inside.privileges import drop_capabilities
from lab.inside.script.turns import BLOCKS, PLAN, Log, Outcome, Step, failed, finish, run_turns, stay

PROGRAM = "switch"
EXIT_MACHINE_LACKS = 3
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 1, 1  # linux/if_packet.h
_LONGEST_FRAME = 65_536
_NEVER_PASSED_ON = bytes.fromhex("0180c20000")
"""01:80:c2:00:00:00 to :0f: for switches themselves, STP for one (IEEE 802.1D table 7-10)."""


class Stations:
    """Where each station was seen last: the table that a switch learns. No I/O."""

    def __init__(self) -> None:
        self._port: dict[bytes, str] = {}
        self.moves = 0
        """How often a station was seen at another port than before."""

    def ports(self, frame: bytes, came_by: str, plugged: list[str]) -> list[str]:
        """Learn from a frame, and return the ports it goes out of: one, all others, or none."""
        destination, source = frame[:6], frame[6:12]
        if not source[0] & 1:
            self.moves += self._port.get(source, came_by) != came_by
            self._port[source] = came_by
        if destination.startswith(_NEVER_PASSED_ON) and destination[5] < 16:
            return []
        others = [port for port in plugged if port != came_by]
        known = None if destination[0] & 1 else self._port.get(destination)
        if known is None:
            return others
        return [known] if known in others else []


class Switch:
    """The ports, and the loop that passes frames on."""

    def __init__(self, interfaces: dict[str, str]) -> None:
        self._sockets = {network: _port(interface) for network, interface in interfaces.items()}
        self._changed = threading.Condition()
        self._plugged = list(interfaces)
        self._stations = Stations()
        self._most = self._passed = 0
        self._gap_s = 0.0

    def start(self, most: int, per_s: float) -> None:
        """Begin anew: nothing learnt, nothing passed on; what was unplugged stays so."""
        with self._changed:
            self._stations = Stations()
            self._most, self._passed, self._gap_s = most, 0, 1 / per_s

    def unplug(self, network: str) -> None:
        """Neither take nor give frames there any more."""
        with self._changed:
            self._plugged = [port for port in self._plugged if port != network]

    def counts(self) -> dict[str, int]:
        """Return how many frames were passed on since the start, and how often a station moved."""
        with self._changed:
            return {"frames": self._passed, "moves": self._stations.moves}

    def wait_for_limit(self, timeout_s: float) -> bool:
        """Wait until as many frames have been passed on as may be; False if that did not come about."""
        with self._changed:
            return self._changed.wait_for(lambda: 0 < self._most <= self._passed, timeout_s)

    def serve(self) -> None:
        """Take frames and pass them on, until the program ends."""
        poll = select.poll()
        networks = {}
        for network, sock in self._sockets.items():
            networks[sock.fileno()] = network
            poll.register(sock, select.POLLIN)
        due = time.monotonic()
        while True:
            for descriptor, _events in poll.poll():
                network = networks[descriptor]
                frame, (_name, _protocol, kind, *_rest) = self._sockets[network].recvfrom(_LONGEST_FRAME)
                if kind in (socket.PACKET_OUTGOING, socket.PACKET_HOST):
                    continue  # sent by this host, perhaps by this switch; or meant for this host alone
                for port in self._take(frame, network):
                    due = max(due + self._gap_s, time.monotonic())
                    time.sleep(max(0.0, due - time.monotonic()))
                    self._sockets[port].send(frame)

    def _take(self, frame: bytes, network: str) -> list[str]:
        """Where a frame goes; counted, so that the limit holds."""
        with self._changed:
            if network not in self._plugged or self._passed >= self._most:
                return []
            ports = self._stations.ports(frame, network, self._plugged)[: self._most - self._passed]
            self._passed += len(ports)
            self._changed.notify_all()
            return ports


def _port(interface: str) -> socket.socket:
    """Open one port: a packet socket that gets every frame of the interface. Raises PermissionError, OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    sock.bind((interface, _ETH_P_ALL))
    membership = struct.pack("iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
    sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    return sock


def perform(switch: Switch, log: Log, step: Step) -> bool:
    """Make one step; False if it went otherwise than written."""
    log.begin(step)
    outcome = Outcome()
    try:
        if step["do"] == "switch":
            switch.start(step["most"], step["rate"])
        elif step["do"] == "unplug":
            switch.unplug(step["network"])
        elif not switch.wait_for_limit(step["within"] / 1e9):
            outcome.outcome = BLOCKS
    except OSError as error:
        outcome = failed(error)
    outcome.details |= switch.counts()
    return log.end(step, outcome)


def main(arguments: list[str] | None = None) -> int:
    plan = read_arguments("script.switch", "Pass frames between the networks of one host.", [PLAN], arguments)["plan"]
    signals = lifecycle.Signals()
    try:
        switch = Switch(plan["interfaces"])
    except PermissionError as error:
        lifecycle.say(f"switch: cannot open a packet socket: {error}\nhint: grant CAP_NET_RAW")
        return EXIT_MACHINE_LACKS
    drop_capabilities()
    threading.Thread(target=switch.serve, name="ports", daemon=True).start()
    log = Log(PROGRAM)
    lifecycle.ready(PROGRAM, name=plan["name"], ports=plan["interfaces"], steps=len(plan["steps"]))
    run_turns(plan["steps"], signals, log, lambda step: perform(switch, log, step))
    stay(signals)
    finish(PROGRAM, plan["name"], log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
