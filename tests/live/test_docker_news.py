"""What containers say comes through the Docker API once, in order, and before their end."""

from __future__ import annotations

from pathlib import Path

import docker
from compose_lab import two_hosts
from docker_lab import free_subnet, hear_until

from lab.engines import News
from lab.engines.compose import ComposeEngine
from lab.topology import Program


def test_news_comes_once_and_in_order_and_the_exit_after_the_last_line(
    api: docker.APIClient, engine: ComposeEngine, run_id: str, tmp_path: Path
) -> None:
    script = "import os,sys\nfor n in range(20000): print(n)\nsys.stdout.flush()\nos._exit(7)"
    count = Program(host="server", role="server", module="timeit", arguments=("-n", "1", "-r", "1", script))
    engine.up(two_hosts(count, subnet=free_subnet(api)), run_id=run_id, run_folder=tmp_path, say=lambda _: None)
    engine.start([count])
    heard = hear_until(engine, lambda news: any(n.exit_code is not None for n in news))
    mine = [news for news in heard if news.program == count.name]
    assert [news.log for news in mine[:-1]] == [str(n) for n in range(20000)]
    assert mine[-1] == News(program=count.name, exit_code=7)
