# SPDX-License-Identifier: Apache-2.0
"""The network between nodes, measured with MPI: what is slow is named, and nothing else."""
from __future__ import annotations

import json
import re

from mpi_hosts import END, MUSTER_MPI, Mpi, need_mpi
from muster import MUSTER, Case, expect
from procs import Proc, Skip
from slurm import Slurm

LIMIT = 900
# Four hosts share the CPUs of a machine that may be busy: what that does looks like a slow network
# now and then. What is slow is named every time, anything else not.
TRIES = 5


def measure(mpi: Mpi) -> Proc:
    """A result. Now and then Open MPI never connects two ranks where the delaying relay gets too
    little of a busy CPU; then muster-mpi gives up with this sentence, and gets two more tries."""
    for _ in range(3):
        run = mpi.per_node(MUSTER, "check", "--fabric")
        run.wait(8 * END)
        if "nothing came back from rank" not in run.err:
            break
        print("# two ranks never heard of each other; once more", flush=True)
    else:
        raise Skip("Open MPI never connects all ranks through the delaying relay on this busy machine")
    expect("fabric of 4 nodes" in run.out, f"no result: {run.out}{run.err}")
    return run


def named(run: Proc) -> set[str]:
    """Nodes and pairs that are called slow."""
    return set(re.findall(r"^slow (?:node|pair): (.*?): ", run.out, re.MULTILINE))


def test_slow_node_is_named(t: Case) -> None:
    mpi = Mpi(t, 4)
    mpi.hosts.fault(3, "delay", "2")
    always: set[str] = set()
    for turn in range(TRIES):
        run = measure(mpi)
        expect(run.popen.returncode == 1, f"exit status {run.popen.returncode}: {run.out}")
        expect("host3" in named(run), f"host3 is not named: {run.out}")
        always = named(run) if turn == 0 else always & named(run)
        if always == {"host3"}:
            return
    expect(False, f"others are named, too, every time: {run.out}")


def test_healthy_network(t: Case) -> None:
    mpi = Mpi(t, 4)
    always: set[str] = set()
    for turn in range(TRIES):
        run = measure(mpi)
        expect("6 of 6 pairs" in run.out, run.out)
        expect((run.popen.returncode == 0) == ("nothing is slow" in run.out), run.out)
        expect((run.popen.returncode == 0) == (not named(run)), run.out)
        always = named(run) if turn == 0 else always & named(run)
        if not always:
            return
    expect(False, f"something is slow every time: {run.out}")


def test_json(t: Case) -> None:
    run = Mpi(t).per_node(MUSTER_MPI, "fabric", "--json", "--time", "5")
    run.wait(8 * END)
    found = json.loads(run.out)
    expect(found["nodes"] == ["host1", "host2", "host3"] and len(found["pairs"]) == 3, run.out)
    expect(all(pair["latency_us"] > 0 and pair["bandwidth_mb_s"] > 0 for pair in found["pairs"]), run.out)
    expect([r["bytes"] >= 8 for r in found["all_reduce"]] == [True, True], run.out)


def test_outside_mpi(t: Case) -> None:
    run = t.run("check", "--fabric")
    run.expect(2)
    expect("mpirun --map-by ppr:1:node muster check --fabric" in run.err, run.err)


def test_one_process_is_no_network(t: Case) -> None:
    need_mpi()
    run = t.spawn("mpirun", ["mpirun", "--allow-run-as-root", "-np", "1", MUSTER_MPI, "fabric"])
    run.expect(2, END)
    expect("one on each of two or more" in run.err, run.err)


def test_under_srun(t: Case) -> None:
    need_mpi()
    step = Slurm(t).start("srun", "srun", "-N3", "--ntasks-per-node=1", "--mpi=pmix", MUSTER, "check",
                          "--fabric")
    step.wait(8 * END)
    expect("fabric of 3 nodes" in step.out and "osk-gpu56" in step.out, f"{step.out}{step.err}")
