"""The crafter: sends TCP segments made by hand from an address that no kernel owns, and takes in what is answered.

    python -m lab.inside.script.crafter --plan @peer.json

Why an address of its own: a kernel that gets a segment for none of its sockets answers with a reset, and would spoil
every connection made by hand from its own address. Here the address, and the Ethernet address behind it, belong to
nobody. This program answers ARP for it, so others find it; the kernel of this host sees frames for another station and
leaves them alone. No firewall rule is needed.

Segments are built and read with scapy. Goes in: the steps of one host (`turns.py`), its interface and that address.
Comes out: an event `step` for each, and `crafter.json`. It gives up every capability once its packet socket is open.
"""

from __future__ import annotations

import errno
import random
import socket
import struct
import sys
import threading
import time
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lab.inside import lifecycle
from lab.inside.arguments import read_arguments
from lab.inside.privileges import drop_capabilities
from lab.inside.script.calls import Deadline, message
from lab.inside.script.endpoint import Endpoint, Segment
from lab.inside.script.turns import BLOCKS, PLAN, Log, Outcome, Step, failed, finish, run_turns, stay

PROGRAM = "crafter"
EXIT_MACHINE_LACKS = 3
_BROADCAST = "ff:ff:ff:ff:ff:ff"
_ARP_WITHIN_S = 3.0
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 1, 1  # linux/if_packet.h
_UDP = socket.IPPROTO_UDP
_FLOOD_PORTS = range(1024, 65536)


class Wire:
    """One interface, as the station behind the address that no kernel owns."""

    def __init__(self, interface: str, address: str, relayed: list[str]) -> None:
        self.address = address
        self._relayed: dict[str, list[Any]] = {to: [] for to in relayed}
        """Frames on their way to these addresses that were sent to this host, to be passed on."""
        self.mac = "02:57:" + ":".join(f"{byte:02x}" for byte in socket.inet_aton(address))  # locally administered
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.bind((interface, _ETH_P_ALL))
        # Frames for a foreign Ethernet address pass a real interface only in promiscuous mode (packet(7)).
        membership = struct.pack("iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
        self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        self._changed = threading.Condition()
        self._macs: dict[str, str] = {}
        self._last_id = 0
        self._endpoints: dict[int, Endpoint] = {}

    def serve(self) -> None:
        """Answer ARP and take in segments, until the program ends."""
        while True:
            data, (_interface, _protocol, kind, *_rest) = self._socket.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING:
                self._take(Ether(data), to_this_host=kind == socket.PACKET_HOST)

    def _take(self, frame: Any, *, to_this_host: bool) -> None:
        if to_this_host and IP in frame and frame[IP].proto == _UDP and frame[IP].dst in self._relayed:
            with self._changed:
                self._relayed[frame[IP].dst].append(frame)
                self._changed.notify_all()
        elif ARP in frame and frame[ARP].pdst == self.address:
            if frame[ARP].op == 1:
                reply = ARP(op=2, hwsrc=self.mac, psrc=self.address, hwdst=frame[ARP].hwsrc, pdst=frame[ARP].psrc)
                self.send(Ether(src=self.mac, dst=frame[ARP].hwsrc) / reply)
            with self._changed:
                self._macs[frame[ARP].psrc] = frame[ARP].hwsrc
                self._changed.notify_all()
        elif IP in frame and TCP in frame and frame[IP].dst == self.address:
            ip, tcp = frame[IP], frame[TCP]
            with self._changed:
                endpoint = self._endpoints.get(tcp.dport)
                if endpoint is not None:
                    header_bytes = ip.ihl * 4 + tcp.dataofs * 4
                    segment = Segment(str(tcp.flags), tcp.seq, tcp.ack, ip.len - header_bytes, tcp.window)
                    endpoint.take(segment, (ip.src, tcp.sport))
                    self._changed.notify_all()

    def send(self, frame: Any) -> None:
        """Send one frame as it is."""
        self._socket.send(bytes(frame))

    def frame(self, to: str, segment: Any) -> Any:
        """Return the segment in a packet from this station to `to`. Raises OSError when nobody has that address."""
        mac = self._mac_of(to)
        return Ether(src=self.mac, dst=mac) / IP(src=self.address, dst=to, flags="DF", id=self.next_id()) / segment

    def next_id(self) -> int:
        """Return the next packet's IP identification: equal segments with equal ones look like one, recorded twice."""
        self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def _mac_of(self, address: str) -> str:
        with self._changed:
            if address not in self._macs:
                question = ARP(op=1, hwsrc=self.mac, psrc=self.address, pdst=address)
                self.send(Ether(src=self.mac, dst=_BROADCAST) / question)
                if not self._changed.wait_for(lambda: address in self._macs, _ARP_WITHIN_S):
                    raise OSError(errno.EHOSTUNREACH, f"nobody answers ARP for {address}")
            return self._macs[address]

    def routed(self, to: str, count: int, timeout_s: float) -> list[Any]:
        """Take the next `count` packets for `to` that came by way of this host; fewer if no more came in time."""
        with self._changed:
            waiting = self._relayed[to]
            self._changed.wait_for(lambda: len(waiting) >= count, timeout_s)
            taken, waiting[:] = waiting[:count], waiting[count:]
        return taken

    def pass_on(self, frame: Any) -> None:
        """Send a packet of another host on its way, as a router does. Raises OSError when nobody has its address.

        A fragment gets a tag of VLAN 0, which is no VLAN but a priority, and which a host takes off unread. Where
        Docker's rules are loaded, the machine would collect the fragments that cross a bridge and pass on only what is
        whole; a tagged packet it passes by. So what lacks a fragment is found out where it should be: at the receiver.
        """
        packet = frame[IP].copy()
        packet.ttl -= 1
        del packet.chksum  # made anew
        ethernet = Ether(src=self.mac, dst=self._mac_of(packet.dst))
        if packet.frag or packet.flags.MF:
            ethernet = ethernet / Dot1Q(vlan=0)
        else:
            del packet[UDP].chksum
        self.send(ethernet / packet)

    def open(self, endpoint: Endpoint) -> None:
        """Hand segments to this endpoint's port to it; one that had the port before gets none any more."""
        with self._changed:
            self._endpoints[endpoint.port] = endpoint

    def wait_for(self, endpoint: Endpoint, flags: str, size: int | None, timeout_s: float) -> Segment | None:
        """Return the next segment with these flags that came to the endpoint; None if none came in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (found := endpoint.next_segment(flags, size)) is None:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    return None
            return found


class Crafter:
    """The hand-made ends of one host in a script."""

    def __init__(self, wire: Wire, log: Log, seed: int) -> None:
        self._wire = wire
        self._log = log
        self._chooser = random.Random(seed)
        self._endpoints: dict[str, Endpoint] = {}

    def perform(self, step: Step) -> bool:
        """Make one step; False if it went otherwise than written."""
        self._log.begin(step)
        try:
            outcome = {
                "endpoint": self._endpoint,
                "craft": self._craft,
                "await-segment": self._await,
                "flood": self._flood,
                "relay": self._relay,
            }[step["do"]](step)
        except OSError as error:
            outcome = failed(error)
        return self._log.end(step, outcome)

    def _endpoint(self, step: Step) -> Outcome:
        peer = (step["address"], step["to_port"]) if step.get("address") else None
        endpoint = Endpoint(port=step["port"], peer=peer, next_to_send=step["sequence"])
        self._endpoints[step["as"]] = endpoint
        self._wire.open(endpoint)
        return Outcome()

    def _craft(self, step: Step) -> Outcome:
        endpoint = self._endpoints[step["socket"]]
        if endpoint.peer is None:
            raise OSError(errno.ENOTCONN, f"`{step['socket']}` has heard from nobody yet")
        payload = message({"size": step["size"]})
        seq, ack = endpoint.numbers(step["flags"], step["seq"], step["ack"], len(payload))
        address, port = endpoint.peer
        options = [("MSS", step["mss"])] if step.get("mss") else []
        header = TCP(
            sport=endpoint.port,
            dport=port,
            flags=step["flags"],
            seq=seq,
            ack=ack,
            window=step["window"],
            options=options,
        )
        self._wire.send(self._wire.frame(address, header / payload if payload else header))
        return Outcome(bytes=len(payload), details={"seq": seq, "ack": ack})

    def _await(self, step: Step) -> Outcome:
        endpoint = self._endpoints[step["socket"]]
        found = self._wire.wait_for(endpoint, step["flags"], step.get("bytes"), Deadline(step["within"]).left_s())
        if found is None:
            came = ", ".join(str(segment) for segment in endpoint.passed[-5:]) or "nothing"
            return Outcome(outcome=BLOCKS, details={"error": f"last came: {came}"})
        return Outcome(bytes=found.size, details={"seq": found.seq, "ack": found.ack, "window": found.window})

    def _flood(self, step: Step) -> Outcome:
        template = self._wire.frame(step["address"], TCP(dport=step["port"], flags="S"))
        for number in range(step["count"]):
            tcp = template[TCP]
            tcp.sport = _FLOOD_PORTS[number % len(_FLOOD_PORTS)]
            tcp.seq = self._chooser.getrandbits(32)
            template[IP].id = self._wire.next_id()
            self._wire.send(template)
        return Outcome(details={"segments": step["count"]})

    def _relay(self, step: Step) -> Outcome:
        frames = self._wire.routed(step["address"], step["count"], Deadline(step["within"]).left_s())
        if len(frames) < step["count"]:
            return Outcome(outcome=BLOCKS, details={"error": f"{len(frames)} of {step['count']} packets came"})
        for number, place in enumerate(step["order"]):
            if number and step.get("gap"):
                time.sleep(step["gap"] / 1e9)
            self._wire.pass_on(frames[place])
        return Outcome(details={"segments": len(step["order"])})


def main(arguments: list[str] | None = None) -> int:
    plan = read_arguments("script.crafter", "Make the segments of one host in a script.", [PLAN], arguments)["plan"]
    signals = lifecycle.Signals()
    try:
        relayed = [step["address"] for step in plan["steps"] if step["do"] == "relay"]
        wire = Wire(plan["interface"], plan["address"], relayed)
    except PermissionError as error:
        lifecycle.say(f"crafter: cannot open a packet socket: {error}\nhint: grant CAP_NET_RAW")
        return EXIT_MACHINE_LACKS
    drop_capabilities()
    threading.Thread(target=wire.serve, name="wire", daemon=True).start()
    log = Log(PROGRAM)
    crafter = Crafter(wire, log, plan["seed"])
    lifecycle.ready(PROGRAM, name=plan["name"], address=wire.address, mac=wire.mac, steps=len(plan["steps"]))
    run_turns(plan["steps"], signals, log, crafter.perform)
    stay(signals)
    finish(PROGRAM, plan["name"], log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
