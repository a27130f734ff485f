# SPDX-License-Identifier: Apache-2.0
"""Many rounds, something killed in each: nothing is lost, left over or grows.

MUSTER_CHAOS_ROUNDS (25) rounds; MUSTER_E2E_SEED repeats a run.
"""
from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from muster import WORKER, Case, Worker, expect
from procs import Failure, Proc, describe, marked, wait_for

LIMIT = 3600
NODES, NPROC = 3, 8
ALL = NODES * NPROC


def workers_alive(mark: str) -> set[int]:
    """Every living worker or worker's child, whichever round it is of."""
    found = set()
    for pid in marked(mark):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(WORKER.encode()):
                found.add(pid)
        except OSError:
            continue
    return found


class FdWatch:
    """Open descriptors of one process: never more than in its first settled round."""

    def __init__(self) -> None:
        self.first: dict[int, int] = {}

    def check(self, proc: Proc) -> None:
        if proc.pid not in self.first:
            self.first[proc.pid] = proc.fds()
            return
        bound = self.first[proc.pid]
        wait_for(lambda: proc.fds() <= bound, f"{proc.name} to be back at {bound} descriptors", 5)


def settle(t: Case, turn: int) -> dict[int, Worker]:
    """A round has started: all ranks, in the order of the nodes, and nothing of an earlier round."""
    workers = t.workers(ALL, turn=turn, timeout=30)
    for rank, worker in workers.items():
        expect(worker.node == rank // NPROC, f"turn {turn}: rank {rank} on node {worker.node}")
        expect(worker.env["WHOSE"] == f"node{rank // NPROC + 1}",
               f"turn {turn}: rank {rank} belongs to {worker.env['WHOSE']}")
    ours = {w.pid for w in workers.values()} | {t.grandchild_of(w) for w in workers.values()}
    try:
        wait_for(lambda: workers_alive(t.mark) == ours, "only this round's workers to be alive", 5)
    except Failure as failure:
        alive = workers_alive(t.mark)
        raise Failure(f"{failure}; turn {turn}: left over "
                      f"{[describe(pid) for pid in alive - ours]}, missing {sorted(ours - alive)}") from None
    return workers


def test_rounds_of_random_kills(t: Case) -> None:
    rounds = int(os.environ.get("MUSTER_CHAOS_ROUNDS", "25"))
    seed = int(os.environ.get("MUSTER_E2E_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    options = ["--nnodes", str(NODES), "--nproc-per-node", str(NPROC),
               "--max-restarts", str(rounds), "--join-timeout", "60s", "--grace", "200ms"]
    server = t.serve()
    watch = FdWatch()
    generation = dict.fromkeys(range(1, NODES + 1), 0)

    def start(node: int) -> Proc:
        generation[node] += 1
        return t.agent(f"node{node}", options, [WORKER, "--grandchild"],
                       env={"WHOSE": f"node{node}"}, log_name=f"node{node}.{generation[node]}")

    agents = {node: start(node) for node in generation}
    begun = time.monotonic()
    for turn in range(rounds):
        workers = settle(t, turn)
        for proc in (server, *agents.values()):
            watch.check(proc)
        action = rng.choice(["kill", "kill", "exit", "exit", "agent"])
        rank = rng.randrange(ALL)
        print(f"round {turn}: {action} rank {rank}")
        if action == "kill":
            os.kill(workers[rank].pid, signal.SIGKILL)
        elif action == "exit":
            t.tell(f"exit.{turn}.{rank}", str(rng.randrange(1, 256)))
        else:
            node = rank // NPROC + 1
            agents[node].signal(signal.SIGKILL)
            agents[node].wait()
            agents[node] = start(node)
        if turn > 0:
            for path in t.job_dir.glob(f"{turn - 1}.*"):
                path.unlink()
    settle(t, rounds)
    t.go()
    for agent in agents.values():
        agent.expect(0)
    expect(t.wait_state("succeeded").exit_code == 0, "serve does not know that the job succeeded")
    print(f"{rounds} rounds in {time.monotonic() - begun:.1f} s")
