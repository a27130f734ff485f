# SPDX-License-Identifier: Apache-2.0
"""Something dies or is told to stop: who else stops, with which status, and what is said."""
from __future__ import annotations

import os
import random
import re
import signal
import sys
from typing import Callable

from muster import PATIENCE, WORKER, Case, Worker, expect
from procs import Proc, wait_for

NODES, NPROC = 3, 8
ALL = NODES * NPROC
TALKING = [WORKER, "--stderr", "last words of"]


def any_rank() -> int:
    seed = int(os.environ.get("MUSTER_E2E_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    return random.Random(seed).randrange(ALL)


def pids_of(workers: dict[int, Worker]) -> list[int]:
    return [worker.pid for worker in workers.values()]


def expect_report(agent: Proc, node: str, *patterns: str) -> None:
    """The failure report on the coordinator's agent names node and the given facts."""
    for pattern in (re.escape(node), *patterns):
        expect(re.search(pattern, agent.err), f"{agent.name} does not report /{pattern}/")


def one_fails(t: Case, fail: Callable[[Worker], None], status: int, reason: str) -> None:
    rank = any_rank()
    agents = t.agents(NODES, NPROC, program=TALKING)
    workers = t.workers(ALL)
    fail(workers[rank])
    for agent in agents:
        agent.expect(status, 15 * PATIENCE)
    t.wait_gone(pids_of(workers), "all workers")
    node = f"node{rank // NPROC + 1}"
    expect_report(agents[0], node, rf"\brank {rank}\b", rf"\b{workers[rank].pid}\b", reason,
                  rf"last words of rank={rank}\b")


def test_worker_killed(t: Case) -> None:
    one_fails(t, lambda w: os.kill(w.pid, signal.SIGKILL), 137, "SIGKILL")


def test_worker_exits_with_a_status(t: Case) -> None:
    one_fails(t, lambda w: t.tell(f"exit.0.{w.rank}", "3"), 3, r"status 3\b")


def test_worker_crashes(t: Case) -> None:
    one_fails(t, lambda w: t.tell(f"segv.0.{w.rank}"), 139, "SIGSEGV")


def test_worker_cannot_be_executed(t: Case) -> None:
    sizes = ["--nnodes", "3", "--nproc-per-node", "8"]
    first = t.agent("node1", sizes)
    t.wait_listening(first)
    agents = [first, t.agent("node2", sizes, ["/no/such/program"]), t.agent("node3", sizes)]
    for agent in agents:
        agent.expect(127, 20 * PATIENCE)
    expect_report(first, "node2", "/no/such/program|not found")


def test_success_of_some_is_not_success_of_all(t: Case) -> None:
    agents = t.agents(NODES, 2)
    t.workers(6)
    for rank in range(5):
        t.tell(f"exit.0.{rank}", "0")
    t.tell("exit.0.5", "9")
    for agent in agents:
        agent.expect(9)


def test_restart_runs_all_again(t: Case) -> None:
    rank = any_rank()
    agents = t.agents(NODES, NPROC, ["--max-restarts", "1"])
    before = t.workers(ALL)
    os.kill(before[rank].pid, signal.SIGKILL)
    after = t.workers(ALL, turn=1)
    t.wait_gone(pids_of(before), "the workers of the first round")
    for r, worker in after.items():
        expect(worker.node == r // NPROC, f"rank {r} moved to node {worker.node}")
        expect(worker.env["TORCHELASTIC_RESTART_COUNT"] == "1", f"rank {r}: restart count {worker.env}")
        expect(worker.env["WORLD_SIZE"] == str(ALL), f"rank {r}: world {worker.env['WORLD_SIZE']}")
    t.go()
    for agent in agents:
        agent.expect(0)


def test_restart_budget_is_the_jobs(t: Case) -> None:
    agents = t.agents(NODES, 2, ["--max-restarts", "2"])
    for turn, rank in enumerate((0, 3, 5)):  # one failure on each node
        workers = t.workers(6, turn=turn)
        os.kill(workers[rank].pid, signal.SIGKILL)
    for agent in agents:
        agent.expect(137)
    expect(not t.worker_files(3), "restarted more often than allowed")


def test_agent_killed(t: Case) -> None:
    agents = t.agents(NODES, NPROC, ["--grace", "1s"], [WORKER, "--grandchild"])
    workers = t.workers(ALL)
    grandchildren = {rank: t.grandchild_of(worker) for rank, worker in workers.items()}
    agents[1].signal(signal.SIGKILL)
    mine = [rank for rank, worker in workers.items() if worker.node == 1]
    t.wait_gone([workers[r].pid for r in mine] + [grandchildren[r] for r in mine],
                "the killed agent's workers and their children")
    for agent in (agents[0], agents[2]):
        agent.expect(1, 15 * PATIENCE)
    expect_report(agents[0], "node2", "lost|gone|died|connection")
    t.wait_gone(pids_of(workers) + list(grandchildren.values()), "every process of the job")


def test_agent_killed_and_replaced(t: Case) -> None:
    options = ["--nnodes", "3", "--nproc-per-node", "8", "--max-restarts", "1", "--join-timeout", "30s"]
    agents = t.agents(NODES, NPROC, options[4:])
    before = t.workers(ALL)
    agents[1].signal(signal.SIGKILL)
    agents[1].wait()
    t.wait_gone(pids_of(before), "the workers of the first round")
    agents[1] = t.agent("node2", options, log_name="node2-again")
    after = t.workers(ALL, turn=1)
    expect(all(w.node == r // NPROC for r, w in after.items()), "the nodes changed places")
    t.go()
    for agent in agents:
        agent.expect(0)


def test_coordinator_killed(t: Case) -> None:
    agents = t.agents(NODES, 2, ["--node-timeout", "2s"])
    workers = t.workers(6)
    agents[0].signal(signal.SIGKILL)
    for agent in agents[1:]:
        agent.expect(1, 15 * PATIENCE)
        expect(re.search(r"coordinator|127\.0\.0\.1", agent.err), f"{agent.name} does not say what is gone")
    t.wait_gone(pids_of(workers), "all workers")


# ---- signals to an agent ----

def stops_with(t: Case, signo: int) -> None:
    agents = t.agents(NODES, NPROC)
    workers = t.workers(ALL)
    agents[1].signal(signo)
    for agent in agents:
        agent.expect(128 + signo, 15 * PATIENCE)
    for rank, worker in workers.items():
        expect(t.signals_of(worker)[:1] == [signo], f"rank {rank} got {t.signals_of(worker)}")


def test_sigterm_stops_the_whole_job(t: Case) -> None:
    stops_with(t, signal.SIGTERM)


def test_sigint_stops_the_whole_job(t: Case) -> None:
    stops_with(t, signal.SIGINT)


def test_second_sigint_kills_at_once(t: Case) -> None:
    agents = t.agents(NODES, 2, ["--grace", "60s"], [WORKER, "--ignore-term"])
    workers = t.workers(6)
    agents[0].signal(signal.SIGINT)
    wait_for(lambda: all(t.signals_of(w) for w in workers.values()), "SIGINT at every worker")
    expect(all(agent.is_running() for agent in agents), "an agent left before its workers")
    agents[0].signal(signal.SIGINT)
    for agent in agents:
        agent.expect(130, 15 * PATIENCE)
    t.wait_gone(pids_of(workers), "all workers")


def test_sigusr1_reaches_the_workers(t: Case) -> None:
    agents = t.agents(NODES, 2)
    workers = t.workers(6)
    mine = [w for w in workers.values() if w.node == 1]
    for signo in (signal.SIGUSR1, signal.SIGUSR2):
        agents[1].signal(signo)
        wait_for(lambda s=signo: all(s in t.signals_of(w) for w in mine), f"signal {signo} at node2's workers")
    expect(all(t.signals_of(w).count(signal.SIGUSR1) == 1 for w in mine), "SIGUSR1 came more than once")
    t.go()
    for agent in agents:
        agent.expect(0)


def test_sigterm_while_forming(t: Case) -> None:
    first = t.agent("node1", ["--nnodes", "3", "--nproc-per-node", "1"])
    t.wait_listening(first)
    second = t.agent("node2", ["--nnodes", "3", "--nproc-per-node", "1"])
    first.wait_err("2/3", 15 * PATIENCE)
    second.signal(signal.SIGTERM)
    second.expect(143)
    first.signal(signal.SIGTERM)
    first.expect(143)
    expect(not t.worker_files(0), "workers were started")


# ---- workers that do not go by themselves ----

def test_grace_ends_in_sigkill(t: Case) -> None:
    agents = t.agents(NODES, 4, ["--grace", "1s"], [WORKER, "--ignore-term"])
    workers = t.workers(12)
    t.tell("exit.0.5", "3")
    for agent in agents:
        agent.expect(3, 15 * PATIENCE)
    t.wait_gone(pids_of(workers), "all workers")
    for rank, worker in workers.items():
        expect(rank == 5 or t.signals_of(worker) == [signal.SIGTERM],
               f"rank {rank} got {t.signals_of(worker)} instead of one SIGTERM")


def test_daemons_left_behind_on_success(t: Case) -> None:
    agents = t.agents(NODES, 2, ["--grace", "1s"], [WORKER, "--grandchild"])
    workers = t.workers(6)
    grandchildren = [t.grandchild_of(worker) for worker in workers.values()]
    t.go()
    for agent in agents:
        agent.expect(0, 15 * PATIENCE)
    t.wait_gone(grandchildren, "the daemons of the workers", 2)


# ---- what the report takes from the worker ----

RAISES = """
import json, os, sys
if os.environ["RANK"] == "1":
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as f:
        json.dump({"message": {"message": "ValueError: the learning rate is a banana",
                               "extraInfo": {"py_callstack": "Traceback", "timestamp": "1700000000"}}}, f)
    sys.exit(4)
import time
time.sleep(600)
"""


def test_error_file_is_in_the_report(t: Case) -> None:
    (t.dir / "script.py").write_text(RAISES)
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "2", "--python", sys.executable],
                    ["script.py"], plain=False)
    agent.expect(4)
    expect("the learning rate is a banana" in agent.err, "the report lacks the error file's message")
