"""What tests of several files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from captures import PROJECT
from two_hosts import Host, two_hosts

from lab.engines.machine_code import PROCESSORS, ensure_machine_code, processor


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts whose packets are captured as they were on the wire: without offloads."""
    with two_hosts() as pair:
        for host in pair:
            host.python(
                f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
                "from lab.inside.offloads import switch_offloads\n"
                "assert not any(switch_offloads('eth0', on=False).values())"
            )
        yield pair


@pytest.fixture
def machine_code_made() -> None:
    """The loops that hosts run are compiled; wherever they can be, they must."""
    if not ensure_machine_code(lambda _line: None):
        assert processor() not in PROCESSORS
        pytest.skip(f"no machine code for {processor()}")
