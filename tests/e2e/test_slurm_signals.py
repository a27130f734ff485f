# SPDX-License-Identifier: Apache-2.0
"""Signals of a real Slurm, as its control groups deliver them, and jobs that it starts again."""
from __future__ import annotations

import signal

from muster import PATIENCE, WORKER, Case, Worker, expect
from procs import alive, wait_for
from slurm import NODES, STEP, Slurm, muster
from test_slurm import check_ranks

LIMIT = 120
LIMITS = {"test_time_limit_with_a_warning": 240}
# These take minutes: a machine that is busy for some seconds meanwhile is no node that is lost.
CALM = ("--node-timeout", "60s")
USR1, TERM = int(signal.SIGUSR1), int(signal.SIGTERM)


def wait_signals(t: Case, workers: dict[int, Worker], expected: list[int], timeout: float = STEP) -> None:
    """Until every worker has had these signals, in this order, and no other."""
    def all_have() -> bool:
        return all(len(t.signals_of(w)) >= len(expected) for w in workers.values())
    wait_for(all_have, f"signals {expected} of all workers", timeout)
    got = {rank: t.signals_of(w) for rank, w in workers.items()}
    expect(all(signals == expected for signals in got.values()), f"signals of the workers: {got}")


def wait_dead(workers: dict[int, Worker], timeout: float = STEP) -> None:
    wait_for(lambda: not any(alive(w.pid) for w in workers.values()), "the workers to end", timeout)


def test_a_signal_reaches_all_once(t: Case) -> None:
    slurm = Slurm(t, hosts=True, cgroup=True)
    step = slurm.run("--nproc-per-node", "4")
    workers = t.workers(12)
    slurm.command("scancel", "--signal=USR1", workers[0].env["SLURM_JOB_ID"])
    wait_signals(t, workers, [USR1])
    t.go()
    step.expect(0, STEP)


# Slurm's limits are whole minutes, and its warning may come a minute early.
def test_time_limit_with_a_warning(t: Case) -> None:
    slurm = Slurm(t, hosts=True, cgroup=True, kill_wait=20)
    script = slurm.script('srun "$@"')
    job = slurm.batch(script, "-N3", "--ntasks-per-node=1", "--time=1", "--signal=USR1@20",
                      words=muster("--nproc-per-node", "4", "--grace", "3s", *CALM,
                                   program=[WORKER, "--ignore-term"]))
    workers = t.workers(12, timeout=STEP)
    check_ranks(workers, NODES, 4)
    wait_signals(t, workers, [USR1], 100 * PATIENCE)
    wait_signals(t, workers, [USR1, TERM], 120 * PATIENCE)  # once, though Slurm sends it twice
    wait_dead(workers)
    slurm.wait_state(job, "TIMEOUT")
    wait_signals(t, workers, [USR1, TERM])


def test_requeue_by_scontrol(t: Case) -> None:
    slurm = Slurm(t, hosts=True, cgroup=True, kill_wait=5)
    job = slurm.batch(slurm.script('srun "$@"'), "-N3", "--ntasks-per-node=1", "--requeue",
                      words=muster("--nproc-per-node", "2", "--grace", "2s", *CALM))
    before = t.workers(6, timeout=STEP)
    slurm.command("scontrol", "requeue", job)
    wait_dead(before)
    check_second_run(t, slurm, job, before)


def test_requeue_on_a_signal(t: Case) -> None:
    slurm = Slurm(t, hosts=True, cgroup=True, kill_wait=5)
    job = slurm.batch(slurm.script('srun "$@"'), "-N3", "--ntasks-per-node=1", "--requeue",
                      words=muster("--nproc-per-node", "2", "--requeue-on", "USR1", "--grace", "3s", *CALM))
    before = t.workers(6, timeout=STEP)
    slurm.command("scancel", "--signal=USR1", job)
    wait_signals(t, before, [USR1])
    wait_dead(before)
    check_second_run(t, slurm, job, before)


# The partition grants 4 s after SIGTERM. A job that has ended within those has failed, for Slurm, and
# starts again only if it asks for that.
def test_preemption(t: Case) -> None:
    slurm = Slurm(t, hosts=True, cgroup=True, kill_wait=5)
    job = slurm.batch(slurm.script('srun "$@"'), "-N3", "--ntasks-per-node=1", "--exclusive", "--requeue",
                      words=muster("--nproc-per-node", "2", "--requeue-on", "TERM", *CALM))
    before = t.workers(6, timeout=STEP)
    urgent = slurm.batch(slurm.script("sleep 1"), "-N3", "--exclusive", "--partition=urgent")
    wait_dead(before)
    got = {rank: t.signals_of(w) for rank, w in before.items()}
    expect(all(signals == [TERM] for signals in got.values()), f"signals of the workers: {got}")
    slurm.wait_state(urgent, "COMPLETED")
    check_second_run(t, slurm, job, before)


def check_second_run(t: Case, slurm: Slurm, job: str, before: dict[int, Worker]) -> None:
    """The job waits, runs again as the same one on all nodes, and completes."""
    slurm.start_again(job)
    after = t.workers(6, turn=1, timeout=STEP)
    check_ranks(after, NODES, 2)
    expect(after[0].env["SLURM_RESTART_COUNT"] == "1", "not a restart of Slurm's")
    ids = [workers[0].env["TORCHELASTIC_RUN_ID"] for workers in (before, after)]
    expect(ids == [f"{job}.0", f"{job}.0.r1"], f"run ids: {ids}")
    t.go()
    slurm.wait_state(job, "COMPLETED")
