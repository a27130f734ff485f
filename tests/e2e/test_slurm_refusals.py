# SPDX-License-Identifier: Apache-2.0
"""What cannot be meant under a real Slurm: one sentence, exit status 2, and nothing started."""
from __future__ import annotations

import re
from typing import Sequence

from muster import Case, expect
from slurm import STEP, Slurm, muster

LIMIT = 90
ONE_EACH = ("-N3", "--ntasks-per-node=1")


def one_sentence(text: str, pattern: str, count: int = 1) -> None:
    said = [line for line in text.splitlines() if line.startswith("muster")]
    expect(len(said) == count and all(re.search(pattern, line) for line in said), f"not said once: /{pattern}/: {said}")


def refused(t: Case, step: Sequence[str], options: list[str], pattern: str, *, gpus: int = 0, count: int = 1) -> None:
    slurm = Slurm(t, gpus=gpus)
    proc = slurm.run(*options, step=step, program=["touch", str(t.dir / "started")])
    proc.expect(2, STEP)
    expect(not (t.dir / "started").exists(), "a worker was started")
    one_sentence(proc.err, pattern, count)


def test_two_tasks_on_a_node(t: Case) -> None:
    refused(t, ["-N3", "--ntasks-per-node=2"], [], r"2 times on a node.*--ntasks-per-node=1")


def test_more_nodes_than_the_step_has(t: Case) -> None:
    refused(t, ONE_EACH, ["--nnodes", "4"], r"on 3 nodes, but --nnodes 4 was given")


def test_fewer_nodes_than_the_step_has(t: Case) -> None:
    refused(t, ONE_EACH, ["--nnodes", "2"], r"on 3 nodes, but --nnodes 2 was given")


def test_spares_are_nodes_too(t: Case) -> None:
    refused(t, ONE_EACH, ["--spares", "3"], r"--spares 3 leaves no node to work: the job has 3, by Slurm$")


# Each node says it of itself: they may have been given different ones.
def test_more_workers_than_gpus(t: Case) -> None:
    refused(t, [*ONE_EACH, "--gpus-per-node=4"], ["--nproc-per-node", "8"],
            r"--nproc-per-node 8 is more than the 4 GPUs that Slurm gave", gpus=8, count=3)


def test_more_workers_than_gpus_on_purpose(t: Case) -> None:
    slurm = Slurm(t, gpus=8)
    step = slurm.run("--nproc-per-node", "8", "--oversubscribe", step=[*ONE_EACH, "--gpus-per-node=4"])
    workers = t.workers(24)
    t.go()
    step.expect(0, STEP)
    expect(all(w.env["CUDA_VISIBLE_DEVICES"] == "0,1,2,3" for w in workers.values()), "not the GPUs Slurm gave")


def test_batch_script_without_srun(t: Case) -> None:
    slurm = Slurm(t)
    job = slurm.batch(slurm.script('"$@"'), *ONE_EACH, words=muster("--nproc-per-node", "2", program=["true"]))
    slurm.wait_state(job, "FAILED")
    expect(slurm.exit_code_of(job) == "2:0", f"the job's status: {slurm.exit_code_of(job)}")
    one_sentence(slurm.output(job).read_text(), r"gave 3 nodes to job \d+, but srun is missing")
