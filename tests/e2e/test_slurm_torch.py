# SPDX-License-Identifier: Apache-2.0
"""Real PyTorch under a real Slurm: a batch script of two lines."""
from __future__ import annotations

import re

from muster import PATIENCE, Case, expect, need_file
from slurm import Slurm, muster
from test_torch import SCRIPT, TORCH_TEARDOWN, torch_python

LIMIT = 600


def train(slurm: Slurm, python: str, *options: str) -> str:
    """The output of a job; a crash of torch's own at the very end gets two more tries."""
    for _ in range(3):
        job = slurm.batch(slurm.script('srun --kill-on-bad-exit=1 "$@"'), "-N3", "--ntasks-per-node=1", *options,
                          words=muster("--python", python, program=[SCRIPT, "--steps", "3"], plain=False))
        state = slurm.wait_state(job, "COMPLETED", "FAILED", timeout=180 * PATIENCE)
        output = slurm.output(job).read_text()
        if state == "COMPLETED" or TORCH_TEARDOWN not in output:
            break
    expect(state == "COMPLETED", f"the job is {state}")
    return output


def expect_agreement(output: str, count: int) -> None:
    losses = {int(rank): loss for rank, loss in re.findall(r"rank (\d+) final loss (\S+)", output)}
    expect(sorted(losses) == list(range(count)), f"ranks that printed a loss: {sorted(losses)}")
    expect(len(set(losses.values())) == 1, f"the ranks disagree: {losses}")


def test_batch_job_on_hosts(t: Case) -> None:
    need_file(SCRIPT)
    python = torch_python()
    expect_agreement(train(Slurm(t, hosts=True, gpus=8, cgroup=True), python, "--gpus-per-node=8"), 24)


# Names do not resolve: everything, the workers' own connections too, goes by addresses.
def test_batch_job_on_one_machine(t: Case) -> None:
    need_file(SCRIPT)
    python = torch_python()
    expect_agreement(train(Slurm(t, gpus=2), python, "--gpus-per-node=2"), 6)
