# SPDX-License-Identifier: Apache-2.0
"""What cannot be meant under a real Slurm: one sentence, exit status 2, and nothing started."""
from __future__ import annotations

import re

from muster import Case, expect
from slurm import STEP, Slurm

LIMIT = 90
ONE_EACH = ("-N3", "--ntasks-per-node=1")


def refused(t: Case, slurm: Slurm, step: list[str], options: list[str], pattern: str) -> None:
    proc = slurm.run(*options, step=step, program=["touch", str(t.dir / "started")])
    proc.expect(2, STEP)
    expect(not (t.dir / "started").exists(), "a worker was started")
    lines = [line for line in proc.err.splitlines() if line.startswith("muster")]
    expect(lines and all(re.search(pattern, line) for line in lines), f"not said: /{pattern}/")


def test_two_tasks_on_a_node(t: Case) -> None:
    slurm = Slurm(t)
    refused(t, slurm, ["-N3", "--ntasks-per-node=2"], [], r"--ntasks-per-node=1")


def test_more_nodes_than_the_step_has(t: Case) -> None:
    slurm = Slurm(t)
    refused(t, slurm, [*ONE_EACH], ["--nnodes", "4"], r"--nnodes 4\b.*\b3 nodes")
