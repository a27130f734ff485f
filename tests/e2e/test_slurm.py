# SPDX-License-Identifier: Apache-2.0
"""Under a real Slurm: three nodes on this machine, one agent per node started by srun."""
from __future__ import annotations

import subprocess

from muster import HELLO, MUSTER, PATIENCE, ROOT, WORKER, Case, expect, free_port, need_file, need_root, need_tools
from procs import Proc, Skip, wait_for

LIMIT = 120
SCRIPT = str(ROOT / "tests/slurm/slurm.sh")


def start_slurm(t: Case) -> None:
    need_root()
    need_tools("slurmctld", "slurmd", "srun", "munged")
    state = t.dir / "slurm"

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        # To files: the daemons keep what they inherit, and a pipe would stay open.
        with open(t.dir / f"slurm-{words[0]}.log", "w+") as log:
            done = subprocess.run([SCRIPT, *words], env=t.env, stdout=log, stderr=log,
                                  stdin=subprocess.DEVNULL, timeout=90, check=False)
            log.seek(0)
            return subprocess.CompletedProcess(words, done.returncode, log.read(), "")

    t.cleanups.append(lambda: call("down", str(state)))
    base = free_port()
    made = call("up", str(state), str(base))
    if made.returncode != 0:
        raise Skip(f"Slurm cannot be started: {made.stdout.strip()}")
    t.env["SLURM_CONF"] = str(state / "slurm.conf")


def srun(t: Case, program: str, *options: str) -> Proc:
    launch = (f'exec "{MUSTER}" run --nnodes 3 --nproc-per-node 8 --node-name "$SLURMD_NODENAME" '
              f'--rdzv-endpoint 127.0.0.1:{t.port} --rdzv-id "$SLURM_JOB_ID" {" ".join(options)} '
              f'--no-python "{program}"')
    return t.spawn("srun", ["srun", "-N3", "--ntasks-per-node=1", "--job-name", "muster", "sh", "-c", launch])


def test_job_of_24(t: Case) -> None:
    need_file(HELLO)
    start_slurm(t)
    srun(t, HELLO).expect(0, 60 * PATIENCE)


def test_ranks_follow_slurms_nodes(t: Case) -> None:
    start_slurm(t)
    step = srun(t, WORKER)
    workers = t.workers(24)
    t.go()
    step.expect(0, 60 * PATIENCE)
    names = [workers[rank].env["SLURMD_NODENAME"] for rank in (0, 8, 16)]
    expect(names == ["osk-gpu54", "osk-gpu56", "osk-gpu91"], f"order of nodes: {names}")


def test_failure_gives_srun_its_status(t: Case) -> None:
    start_slurm(t)
    step = srun(t, WORKER)
    workers = t.workers(24)
    t.tell("exit.0.11", "7")
    step.expect(7, 60 * PATIENCE)
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_scancel_ends_everything(t: Case) -> None:
    start_slurm(t)
    step = srun(t, WORKER, "--grace", "5s")
    workers = t.workers(24)
    job = workers[0].env["SLURM_JOB_ID"]
    subprocess.run(["scancel", job], env=t.env, timeout=20, check=True)
    expect(step.wait(60 * PATIENCE) != 0, "srun exited with 0 after scancel")
    t.wait_gone([w.pid for w in workers.values()], "all workers")
    wait_for(lambda: not subprocess.run(["squeue", "-h", "-j", job], env=t.env, capture_output=True,
                                        text=True, timeout=20, check=False).stdout.strip(),
             "the job to leave the queue", 60)
