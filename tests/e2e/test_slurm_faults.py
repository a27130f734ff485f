# SPDX-License-Identifier: Apache-2.0
"""Nodes of a real Slurm that lose their power while a job runs, and what was asked for wrongly."""
from __future__ import annotations

import time

from muster import PATIENCE, WORKER, Case, Worker, expect
from procs import alive, wait_for
from slurm import NODES, STEP, Slurm
from test_slurm import check_ranks

LIMIT = 150
NODE_TIMEOUT = 5.0  # muster's, its default


def survivors(workers: dict[int, Worker], lost: str) -> list[int]:
    return [w.pid for w in workers.values() if w.env["SLURMD_NODENAME"] != lost]


def check_node_lost(t: Case, slurm: Slurm, host: int) -> None:
    """Long before Slurm notices, the workers of the other nodes stop, and all is said."""
    assert slurm.hosts is not None
    lost = NODES[host - 1]
    step = slurm.run("--nproc-per-node", "4")
    workers = t.workers(12)
    slurm.hosts.fault(host, "crash")
    crashed = time.monotonic()
    wait_for(lambda: not any(alive(pid) for pid in survivors(workers, lost)),
             "the workers of the other nodes to end", 20 * PATIENCE)
    span = time.monotonic() - crashed
    expect(span < (NODE_TIMEOUT + 5) * PATIENCE, f"the workers of the other nodes ran for {span:.1f} s more")
    expect(step.wait(90 * PATIENCE) != 0, "srun exited with 0")
    expect(any(lost in line for line in step.err.splitlines() if line.startswith("muster ")),
           f"no node says that {lost} is lost")


def test_node_loses_power(t: Case) -> None:
    check_node_lost(t, Slurm(t, hosts=True, cgroup=True, node_timeout=10), 3)


def test_first_node_loses_power(t: Case) -> None:
    check_node_lost(t, Slurm(t, hosts=True, cgroup=True, node_timeout=10), 1)


def test_spare_takes_the_place(t: Case) -> None:
    nodes = (*NODES, "osk-gpu92")
    slurm = Slurm(t, hosts=True, cgroup=True, nodes=nodes, node_timeout=10)
    assert slurm.hosts is not None
    step = slurm.run("--nnodes", "3", "--spares", "1", "--max-restarts", "1", "--nproc-per-node", "4",
                     step=["-N4", "--ntasks-per-node=1", "--no-kill"])
    check_ranks(t.workers(12), NODES, 4)
    slurm.hosts.fault(2, "crash")
    after = t.workers(12, turn=1, timeout=30)
    check_ranks(after, ("osk-gpu54", "osk-gpu92", "osk-gpu91"), 4)
    t.go()
    wait_for(lambda: not any(alive(w.pid) for w in after.values()), "the workers to end", STEP)
    step.wait(90 * PATIENCE)  # Slurm's own view of the lost node decides its status
