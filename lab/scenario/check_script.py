"""What contradicts what in a script: sockets that nobody made, joins of nothing, hosts that do not exist. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.scenario.schema import Scenario
from lab.scenario.script import (
    CRAFTED,
    SWITCHING,
    Accept,
    AnyStep,
    Await,
    AwaitLimit,
    AwaitSegment,
    Bind,
    Connect,
    Craft,
    Endpoint,
    Join,
    Listen,
    Look,
    Recv,
    Relay,
    RunPhase,
    Send,
    SocketStep,
    Switch,
    Unplug,
)

Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """Two values that cannot both hold; `path` is where to mend it."""

    path: Path
    what: str
    hint: str | None = None


MAKES_SOCKET = (Listen, Connect, Accept, Bind)


def script_contradictions(scenario: Scenario, hosts: set[str]) -> Iterator[Contradiction]:
    """Yield every contradiction of the script; `hosts` are the names of all hosts."""
    labels: dict[str, tuple[int, AnyStep]] = {}
    for index, step in enumerate(scenario.script):
        path: Path = ("script", index)
        if isinstance(step, RunPhase):
            yield from _phase(scenario, index)
            continue
        for key in ("at", "to", "via"):
            name = getattr(step, key, None)
            if name is not None and name not in hosts:
                yield Contradiction(path=(*path, key), what=f"no such host, got {name!r}; allowed: {', '.join(hosts)}")
        if isinstance(step, SocketStep):
            yield from _socket(step, path, labels)
        if isinstance(step, Join):
            yield from _join(step, path, labels)
        yield from _values(step, path)
        if isinstance(step, SWITCHING):
            yield from _switch(scenario, step, index)
        if step.label is not None:
            if step.label in labels:
                what = f"given twice, got {step.label!r}, first at step {labels[step.label][0] + 1}; a name stands once"
                yield Contradiction(path=(*path, "as"), what=what)
            labels[step.label] = index, step
    yield from _never_joined(scenario)
    yield from _expected(scenario, labels)


def _phase(scenario: Scenario, index: int) -> Iterator[Contradiction]:
    phases = len(scenario.fleet.phases) if scenario.fleet is not None else 0
    before = sum(isinstance(step, RunPhase) for step in scenario.script[:index])
    if before >= phases:
        yield Contradiction(path=("script", index), what=f"no phase of the fleet is left; it has {phases}")


def _socket(step: SocketStep, path: Path, labels: dict[str, tuple[int, AnyStep]]) -> Iterator[Contradiction]:
    maker = labels.get(step.socket, (0, None))[1]
    wanted: tuple[type, ...] = MAKES_SOCKET
    if isinstance(step, Accept):
        wanted = (Listen,)
    elif isinstance(step, Craft | AwaitSegment):
        wanted = (Endpoint,)
    if not isinstance(maker, wanted) or getattr(maker, "at", None) != step.at:
        allowed = [
            name for name, (_, one) in labels.items() if isinstance(one, wanted) and getattr(one, "at", "") == step.at
        ]
        what = f"no such socket of {step.at} before this step, got {step.socket!r}"
        yield Contradiction(path=(*path, "socket"), what=f"{what}; there are: {', '.join(allowed) or 'none'}")


def _join(step: Join, path: Path, labels: dict[str, tuple[int, AnyStep]]) -> Iterator[Contradiction]:
    begun = {
        name: one
        for name, (_, one) in labels.items()
        if not isinstance(one, RunPhase) and one.at == step.at and not getattr(one, "wait", True)
    }
    if step.step not in begun:
        what = f"no step of {step.at} with `wait: false` before this one has that name, got {step.step!r}"
        yield Contradiction(path=(*path, "step"), what=f"{what}; there are: {', '.join(begun) or 'none'}")


def _switch(scenario: Scenario, step: Switch | Unplug | AwaitLimit, index: int) -> Iterator[Contradiction]:
    """A switch is between networks of its host, and is one before anything is asked of it."""
    path: Path = ("script", index)
    host = scenario.hosts.get(step.at) or scenario.hosts.get(step.at.rpartition("-")[0])
    networks = host.networks if host is not None else []
    if isinstance(step, Switch):
        if len(networks) == 1:
            what = f"a switch is between two networks or more; {step.at} is on {networks[0]} alone"
            yield Contradiction(path=(*path, "at"), what=what)
        return
    if not any(isinstance(one, Switch) and one.at == step.at for one in scenario.script[:index]):
        what = f"{step.at} is no switch yet; a step `switch` makes it one"
        yield Contradiction(path=(*path, "at"), what=what)
    if isinstance(step, Unplug) and networks and step.network not in networks:
        what = f"not a network of {step.at}, got {step.network!r}; it is on {', '.join(networks)}"
        yield Contradiction(path=(*path, "network"), what=what)


def _never_joined(scenario: Scenario) -> Iterator[Contradiction]:
    """A step that nobody waits for could end, or not, in the script's back."""
    joined = {step.step for step in scenario.script if isinstance(step, Join)}
    for index, step in enumerate(scenario.script):
        if not getattr(step, "wait", True) and getattr(step, "label", None) not in joined:
            what = "is begun with `wait: false`, and no `join` waits for its end"
            hint = "give it a name with `as:` and add `{do: join, step: NAME}` where it must have ended"
            yield Contradiction(path=("script", index), what=what, hint=hint)


def _expected(scenario: Scenario, labels: dict[str, tuple[int, AnyStep]]) -> Iterator[Contradiction]:
    """An expectation on a step names one that the script has; a state is looked at by a look."""
    for index, expectation in enumerate(scenario.expect):
        kind, _, name = expectation.what.partition(".")
        if expectation.query is not None or kind not in ("step", "state"):
            continue
        named = name.rpartition(".")[0]
        allowed = [label for label, (_, step) in labels.items() if kind == "step" or isinstance(step, Look)]
        if named not in allowed:
            what = f"no such {'look' if kind == 'state' else 'step'} in the script, got {named!r}"
            path: Path = ("expect", index, "what")
            yield Contradiction(path=path, what=f"{what}; there are: {', '.join(allowed) or 'none'}")


def _values(step: AnyStep, path: Path) -> Iterator[Contradiction]:
    if isinstance(step, Send) and (step.size is None) == (step.text is None):
        yield Contradiction(path=path, what="a send needs either `size` or `text`")
    if isinstance(step, Recv) and step.framing is not None and step.until is not None:
        yield Contradiction(path=path, what="a recv with `framing` takes messages: it has `times`, not `until`")
    if isinstance(step, Recv) and sum(x is not None for x in (step.size, step.text, step.until)) > 1:
        yield Contradiction(path=path, what="a recv takes one of `size`, `text`, `until`")
    if isinstance(step, Endpoint) and (step.to is None) != (step.to_port is None):
        yield Contradiction(path=path, what="`to` and `to_port` stand together, or neither does")
    if isinstance(step, Craft) and step.mss is not None and "S" not in step.flags:
        yield Contradiction(path=(*path, "mss"), what=f"the MSS option stands on a SYN alone, got flags {step.flags!r}")
    if isinstance(step, Relay):
        for number, place in enumerate(step.order):
            if not 0 <= place < step.count:
                what = f"0 to {step.count - 1} are allowed with count {step.count}, got {place}"
                yield Contradiction(path=(*path, "order", number), what=what)
    if isinstance(step, Await):
        keys = ("state", "timer", "retransmits", "send_queue", "recv_queue", "accept_queue")
        if all(getattr(step, key) is None for key in keys):
            yield Contradiction(path=path, what=f"nothing to wait for; give one of {', '.join(keys)}")
    if isinstance(step, CRAFTED) and getattr(step, "to", None) == step.at:
        yield Contradiction(path=(*path, "to"), what=f"a hand-made end talks to another host, got its own, {step.at!r}")
