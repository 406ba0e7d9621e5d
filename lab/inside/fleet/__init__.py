"""The client fleet of one host: thousands of real connections, driven through phases and measured without rounding.

`python -m lab.inside.fleet --plan '<JSON>'` (or `--plan @FILE`) runs one fleet host. In: a plan (`plan.py` says what it
may hold). Out: event lines on standard output, `fleet.json` and `latency-<worker>.bin` in `$LAB_OUT`.

    __main__.py      the command: reads the plan, answers a wrong one with exit code 2
    plan.py          what a plan may say; phases.py: the phases in it; fields.py: checked reading of JSON
    coordinator.py   the parent: forks workers, passes the barriers, reports progress; result.py adds everything up
    worker.py        one worker process: its descriptors, its epoll, and the phases one after another
    connections.py   raw descriptors in arrays: no Python object a connection
    counters.py      the page of counters that workers write and the parent reads
    pacing.py        when arrival k is due, and a timerfd to wake up for it
    answers.py       when an answer is complete, and whether it is the right one
    exchange.py      requests in flight: begin, take the answer, log planned, sent and done
    hot_loop.py      the loop of the commonest load, which the lab compiles
    latency_log.py   the raw nanoseconds of every message, in batches to a file
    lateness.py      how late the generator itself was

One file a phase: `connect.py`, `hold.py`, `closed_load.py` (with `closed_fast.py` for its commonest form),
`open_load.py` (also probes), `churn.py`, `burst.py`, `slow_read.py`, `drain.py`; `udp.py` for datagrams.

A fleet never stops at the first error: errors are results, counted by name. It needs the standard library only.
"""
