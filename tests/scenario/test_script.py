"""Scripts as people write them: what is refused, and how it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ScenarioInvalid
from lab.scenario.load import load
from lab.scenario.script import Connect, Listen

HEAD = "title: Script\nhosts: {server: {}, client: {}}\n"
GOOD = """script:
  - {at: server, do: listen, port: 9000, as: l}
  - {at: client, do: connect, to: server, port: 9000, as: c}
  - {at: server, do: accept, socket: l, as: s}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioInvalid) as caught:
        load(file)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_a_script_takes_the_place_of_server_and_fleet(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(HEAD + GOOD)
    listen, connect, _accept = load(file).scenario.script
    assert isinstance(listen, Listen)
    assert listen.options == {"reuseaddr": True}
    assert isinstance(connect, Connect)
    assert connect.within == 5_000_000_000


def test_nothing_that_drives_traffic_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, HEAD)
    assert found.startswith("lab.yaml:2: hosts: nothing drives traffic: there is neither a fleet nor a script")


def test_a_fleet_without_a_server_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, HEAD + "fleet: {connections: 1, phases: [{phase: connect}]}\n")
    assert "lab.yaml:3: fleet: a fleet needs a server to talk to" in found


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{at: client, do: conect, to: server}", "script[3].do: unknown step, got 'conect'; allowed: listen, connect"),
        ("{at: client, to: server}", "script[3]: not a step, got {'at': 'client', 'to': 'server'}"),
        ("{at: client, do: send, sokcet: c, size: 1B}", "script[3].sokcet: unknown key, got 'sokcet'; allowed: as, at"),
        ("{at: client, do: send, socket: c, size: 5}", "script[3].size: not a size, got 5"),
        ("{at: client, do: await, socket: c, state: FIN_WAIT_2}", "script[3].state: not allowed, got 'FIN_WAIT_2'"),
        ("{at: nobody, do: look, as: x}", "script[3].at: no such host, got 'nobody'; allowed: "),
        ("{at: client, do: close, socket: s}", "script[3].socket: no such socket of client before this step, got 's'"),
        ("{at: client, do: accept, socket: c, as: d}", "script[3].socket: no such socket of client before this step"),
        ("{at: client, do: send, socket: c}", "script[3]: a send needs either `size` or `text`"),
        ("{at: client, do: look, as: c}", "script[3].as: given twice, got 'c', first at step 2"),
        ("{at: client, do: join, step: c}", "script[3].step: no step of client with `wait: false`"),
        (
            "{at: client, do: recv, socket: c, wait: false}",
            "script[3]: is begun with `wait: false`, and no `join` waits",
        ),
        ("{at: client, do: await, socket: c}", "script[3]: nothing to wait for; give one of state, timer"),
        (
            "{at: client, do: relay, to: server, count: 2, order: [1, 2]}",
            "script[3].order[1]: 0 to 1 are allowed with count",
        ),
        ("{at: client, do: switch}", "script[3].at: a switch is between two networks or more; client is on lan alone"),
        ("{at: client, do: switch, rate: 1M/s}", "script[3].rate: "),
        ("{at: client, do: switch, most: 1000000}", "script[3].most: "),
        ("{at: client, do: await-limit}", "script[3].at: client is no switch yet; a step `switch` makes it one"),
        ("{at: client, do: unplug, network: wan}", "script[3].network: not a network of client, got 'wan'; it is on"),
        ("{do: phase}", "script[3]: no phase of the fleet is left; it has 0"),
    ],
)
def test_what_is_wrong_with_a_step_is_told_with_its_line(tmp_path: Path, step: str, told: str) -> None:
    found = problems(tmp_path, HEAD + GOOD + f"  - {step}\n")
    assert any(line.startswith(f"lab.yaml:7: {told}") for line in found), found


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("state.s.LISTEN", "no such look in the script, got 's'; there are: none"),
        ("step.t.bytes", "no such step in the script, got 't'; there are: l, c, s"),
        ("step.c.colour", "unknown measure, got 'step.c.colour'"),
    ],
)
def test_an_expectation_names_steps_that_the_script_has(tmp_path: Path, what: str, told: str) -> None:
    found = problems(tmp_path, HEAD + GOOD + f"expect: [{{what: {what}, equal: 0}}]\n")
    assert found[0].startswith(f"lab.yaml:7: expect[0].what: {told}")
