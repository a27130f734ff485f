# SPDX-License-Identifier: Apache-2.0
"""What is measured. An experiment is one job; it gives a value for each of its measures."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from job import Event, Job, free_port, is_alive, is_listening, marked, wait_until
from launchers import NODES, WORKERS, Launcher

LIMIT_S = 20.0  # how long a launcher may take to tell the other nodes
SETTLE_S = 0.2
LIVE_MS = 300  # of a worker whose end is awaited
FAILING = NODES - 1  # the node where things are killed; node 0 serves the store

Values = Mapping[str, float | None]  # None: not within LIMIT_S


@dataclass(frozen=True)
class Measure:
    key: str
    row: str  # what --row selects
    title: str
    unit: str = "ms"


@dataclass(frozen=True)
class Experiment:
    run: Callable[[Job, Launcher], Values]
    live_ms: int
    names: tuple[str, ...]  # of the launchers that can do it
    torchrun_waits: bool  # torchrun takes all of LIMIT_S: fewer runs of it
    measures: tuple[Measure, ...]


def ms(later: int, earlier: int) -> float:
    return (later - earlier) / 1e6


def one_node(job: Job, launcher: Launcher) -> Values:
    job.start(launcher.one_node())
    end = job.wait_ends()[0]
    launch = job.events("launch")[0].ns
    starts = [e.ns for e in job.wait_events("start", WORKERS, limit=0)]
    exits = [e.ns for e in job.wait_events("exit", WORKERS, limit=0)]
    if end.value != "0":
        raise job.trouble(f"exit status {end.value}")
    if left := marked(job.mark):
        raise job.trouble(f"{len(left)} processes are left")
    return {"first": ms(min(starts), launch), "last": ms(max(starts), launch),
            "exit": ms(end.ns, max(exits))}


def start_nodes(job: Job, launcher: Launcher, max_restarts: int,
                has_spare: bool = False) -> list[Event]:
    """Starts the launchers of all nodes; the workers' `start` events."""
    port = free_port()
    command = launcher.node_or_spare if has_spare else launcher.node
    running = launcher.running_nodes() if has_spare else NODES
    for node in range(NODES + has_spare):
        job.start(command(node, port, max_restarts))
        if node == 0 and not wait_until(lambda: is_listening(port), 30):
            raise job.trouble("node 0 does not serve the endpoint")
    starts = job.wait_events("start", running * WORKERS)
    time.sleep(SETTLE_S)
    return starts


def memory_of(pids: list[int]) -> dict[str, float]:
    """Memory of the processes together, in MB (10^6 bytes)."""
    names = {"Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private", "Rss": "rss"}
    total = dict.fromkeys(names.values(), 0.0)
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in names:
                total[names[name]] += int(rest.split()[0]) * 1024 / 1e6
    return total


def memory_one(job: Job, launcher: Launcher) -> Values:
    job.start(launcher.one_node())
    job.wait_events("start", WORKERS)
    time.sleep(2 * SETTLE_S)
    pids = job.launcher_processes(0)
    return {f"{key}1": mb for key, mb in memory_of(pids).items()} | {"processes1": len(pids)}


def memory_three(job: Job, launcher: Launcher) -> Values:
    start_nodes(job, launcher, 0)
    time.sleep(SETTLE_S)
    return {f"{key}3": mb for key, mb in memory_of(job.launcher_processes(0)).items()}


def kill(pid: int) -> int:
    now = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    return now


def when_told(job: Job, killed: int) -> tuple[float | None, float | None]:
    """From the kill to the first SIGTERM on the last other node, and to the last worker's there."""
    others = [node for node in range(NODES) if node != FAILING]

    def told() -> dict[int, list[int]]:
        terms = [e for e in job.events("term", killed) if e.node != FAILING]
        return {node: [e.ns for e in terms if e.node == node] for node in others}

    if not wait_until(lambda: all(told().values()), LIMIT_S):
        return None, None
    if not wait_until(lambda: all(len(t) == WORKERS for t in told().values()), LIMIT_S):
        raise job.trouble("some workers of the other nodes got no SIGTERM")
    times = told().values()
    return ms(max(min(t) for t in times), killed), ms(max(max(t) for t in times), killed)


def victim(starts: list[Event]) -> int:
    return next(e.pid for e in starts if e.node == FAILING)


def kill_with(restarts: int) -> Callable[[Job, Launcher], Values]:
    def run(job: Job, launcher: Launcher) -> Values:
        starts = start_nodes(job, launcher, restarts)
        told, all_told = when_told(job, kill(victim(starts)))
        return {f"told{restarts}": told, f"all_told{restarts}": all_told}
    return run


def restart(job: Job, launcher: Launcher) -> Values:
    starts = start_nodes(job, launcher, 3)
    killed = kill(victim(starts))
    again = max(e.ns for e in job.wait_events("start", NODES * WORKERS, after=killed))
    death = max(e.ns for e in job.events("term", killed))
    return {"again": ms(again, killed), "again_beyond": ms(again, death)}


def agent(job: Job, launcher: Launcher) -> Values:
    starts = start_nodes(job, launcher, 3)
    killed = kill(job.launcher(FAILING))
    orphans = [e.pid for e in starts if e.node == FAILING]
    time.sleep(1)
    alive = sum(map(is_alive, orphans))
    return {"agent_told": when_told(job, killed)[0], "orphans": alive}


def replacement(job: Job, launcher: Launcher) -> Values:
    start_nodes(job, launcher, 3, has_spare=True)
    killed = kill(job.launcher(FAILING))
    count = NODES * WORKERS
    if not wait_until(lambda: len(job.events("start", killed)) >= count, LIMIT_S):
        return {"replaced_first": None, "replaced": None, "replaced_beyond": None}
    again = [e.ns for e in job.events("start", killed)]
    death = max(e.ns for e in job.events("term", killed))
    return {"replaced_first": ms(min(again), killed), "replaced": ms(max(again), killed),
            "replaced_beyond": ms(max(again), death)}


ALL = ("bare", "muster", "torchrun")
BOTH = ("muster", "torchrun")
TOLD = "one of 24 workers on 3 nodes killed, {}: SIGTERM on both other nodes"
ALL_TOLD = "... at all 16 workers there"

EXPERIMENTS = (
    Experiment(one_node, LIVE_MS, ALL, False, (
        Measure("first", "start", "command to first worker running, 8 workers on one node"),
        Measure("last", "start", "command to last worker running"),
        Measure("exit", "exit", "last worker's exit to launcher's exit"))),
    Experiment(memory_one, 0, BOTH, False, (
        Measure("pss1", "memory", "launcher's memory, one node of 8 workers: PSS", "MB"),
        Measure("private1", "memory", "... private", "MB"),
        Measure("rss1", "memory", "... resident: RSS, shared pages counted in full", "MB"),
        Measure("processes1", "memory", "... processes that are no workers", ""))),
    Experiment(memory_three, 0, BOTH, False, (
        Measure("pss3", "memory", "launcher's memory, master of 3 nodes: PSS", "MB"),
        Measure("private3", "memory", "... private", "MB"),
        Measure("rss3", "memory", "... resident", "MB"))),
    Experiment(kill_with(0), 0, BOTH, True, (
        Measure("told0", "kill", TOLD.format("no restarts left")),
        Measure("all_told0", "kill", ALL_TOLD))),
    Experiment(kill_with(1), 0, BOTH, False, (
        Measure("told1", "kill", TOLD.format("a restart left")),
        Measure("all_told1", "kill", ALL_TOLD))),
    Experiment(restart, 0, BOTH, False, (
        Measure("again", "restart",
                "one of 24 workers killed, restarts left: all 24 running again"),
        Measure("again_beyond", "restart", "... counted from the last worker's death"))),
    Experiment(agent, 0, BOTH, True, (
        Measure("agent_told", "agent",
                "agent of one of 3 nodes killed: SIGTERM on both other nodes"),
        Measure("orphans", "agent", "... its workers that live 1 s later", "of 8"))),
    Experiment(replacement, 0, BOTH, True, (
        Measure("replaced", "replacement",
                "agent of one of 3 nodes killed, a 4th is there: all 24 workers running again"),
        Measure("replaced_first", "replacement", "... the first of them"),
        Measure("replaced_beyond", "replacement",
                "... all, counted from the last other worker's death"))),
)
ROWS = tuple(dict.fromkeys(m.row for e in EXPERIMENTS for m in e.measures))
