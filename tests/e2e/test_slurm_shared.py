# SPDX-License-Identifier: Apache-2.0
"""Several jobs of a real Slurm on the same nodes at once, and several steps of one job."""
from __future__ import annotations

from muster import Case, Worker, expect
from procs import Proc, wait_for
from slurm import NODES, STEP, Slurm, muster
from test_slurm import check_ranks

LIMIT = 120


class Apart:
    """A directory of its own for the workers of one of several steps."""

    def __init__(self, t: Case, name: str) -> None:
        self.case = t
        self.dir = t.dir / name
        self.dir.mkdir()
        self.env = {"E2E_DIR": str(self.dir)}

    def workers(self, count: int) -> dict[int, Worker]:
        self.case.job_dir = self.dir
        return self.case.workers(count)

    def go(self) -> None:
        self.case.job_dir = self.dir
        self.case.go()


def check_both(t: Case, first: Proc, second: Proc, places: list[Apart]) -> list[dict[int, Worker]]:
    """Both run at the same time, each with workers of its own, and end well, one after the other."""
    found = [place.workers(6) for place in places]
    for workers in found:
        check_ranks(workers, NODES, 2)
    ports = [workers[0].env["MASTER_PORT"] for workers in found]
    expect(ports[0] != ports[1], f"both have the port {ports[0]}")
    places[0].go()
    first.expect(0, STEP)
    expect(second.is_running(), "the second ended with the first")
    places[1].go()
    second.expect(0, STEP)
    return found


def test_two_jobs_on_the_same_nodes(t: Case) -> None:
    slurm = Slurm(t, hosts=True)
    places = [Apart(t, "one"), Apart(t, "two")]
    steps = [slurm.run("--nproc-per-node", "2", name=place.dir.name, env=place.env) for place in places]
    found = check_both(t, *steps, places)
    expect(found[0][0].env["SLURM_JOB_ID"] != found[1][0].env["SLURM_JOB_ID"], "not two jobs")


# All agents share one address here: only their words tell the jobs apart.
def test_two_jobs_on_one_machine(t: Case) -> None:
    slurm = Slurm(t)
    places = [Apart(t, "one"), Apart(t, "two")]
    steps = [slurm.run("--nproc-per-node", "2", name=place.dir.name, env=place.env) for place in places]
    check_both(t, *steps, places)


def test_two_steps_of_one_job(t: Case) -> None:
    slurm = Slurm(t, hosts=True)
    holder = slurm.start("salloc", "salloc", "-N3", "--ntasks-per-node=1", "sh", "-c",
                         'echo "$SLURM_JOB_ID" >job-id; while [ ! -e done ]; do sleep 0.1; done')
    job = wait_for_text(t, holder, "job-id")
    places = [Apart(t, "one"), Apart(t, "two")]
    steps = [slurm.start(place.dir.name, "srun", f"--jobid={job}", "--overlap", "-N3", "--ntasks-per-node=1",
                         *muster("--nproc-per-node", "2"), env=place.env) for place in places]
    found = check_both(t, *steps, places)
    ids = [workers[0].env["TORCHELASTIC_RUN_ID"] for workers in found]
    expect(sorted(ids) == [f"{job}.0", f"{job}.1"], f"run ids: {ids}")
    (t.dir / "done").touch()
    holder.expect(0, STEP)


def wait_for_text(t: Case, proc: Proc, name: str) -> str:
    """What a file holds, once it does."""
    path = t.dir / name

    def text() -> str:
        expect(proc.is_running(), f"{proc.name} ended without {name}")
        return path.read_text().strip() if path.exists() else ""
    return wait_for(text, f"{proc.name} to write {name}")
