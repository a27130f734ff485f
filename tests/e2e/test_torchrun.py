# SPDX-License-Identifier: Apache-2.0
"""Unmodified torchrun with its c10d rendezvous at `muster serve`. MUSTER_E2E_STORE=torch runs the
same tests with the store that torchrun brings itself, for comparison."""
from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Collection, Optional, Sequence

from muster import PATIENCE, ROOT, Case, expect
from procs import Failure, Proc, alive, marked, wait_for
from test_store import QUIET
from test_torch import torch_python

LIMIT = 180
WORKER = str(ROOT / "tests/compat/group_worker.py")
# The workers of a second attempt find the addresses of the first in the store that the agents of
# torch 2.13 share with them, and fail, whoever serves the rendezvous: so they get one of their own.
FRESH = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
IS_OWN = os.environ.get("MUSTER_E2E_STORE") == "torch"


class Job:
    """torchrun agents of one rendezvous id, and what its ranks left behind."""

    def __init__(self, t: Case, run_id: str, nodes: str, count: int, nproc: int, conf: str,
                 options: Sequence[str] = (), env: Optional[dict[str, str]] = None) -> None:
        self.t = t
        self.env = {**QUIET, "OMP_NUM_THREADS": "1", **(env or {})}
        self.run_id = run_id
        self.started = time.monotonic()
        self.agents = [self.agent(f"{run_id}-agent{k}", nodes, nproc, conf, options) for k in range(count)]

    def agent(self, name: str, nodes: str, nproc: int, conf: str, options: Sequence[str]) -> Proc:
        return self.t.spawn(name, [
            torch_python(), "-m", "torch.distributed.run", "--nnodes", nodes, "--nproc-per-node", str(nproc),
            "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{self.t.port}", "--rdzv-id", self.run_id,
            "--local-addr", "127.0.0.1", *(["--rdzv-conf", conf] if conf else []), *options, WORKER,
        ], self.env)

    def met(self, attempt: Optional[int], world: int, but: Collection[int] = ()) -> dict[int, int]:
        """Rank: pid, of those that met in an attempt (None: in any) in a world of this size; not
        those of the pids `but`, who did before."""
        names = f"{self.run_id}.{'*' if attempt is None else attempt}.{world}.*"
        all_met = [(int(path.suffix[1:]), int(path.read_text())) for path in self.t.job_dir.glob(names)]
        return {rank: pid for rank, pid in all_met if pid not in but}

    def wait_met(self, attempt: Optional[int], world: int, timeout: float = 90,
                 but: Collection[int] = ()) -> dict[int, int]:
        def all_met() -> dict[int, int]:
            found = self.met(attempt, world, but)
            if len(found) < world and not any(agent.is_running() for agent in self.agents):
                raise Failure(f"all agents ended before {world} ranks of attempt {attempt} had met")
            return found if len(found) == world else {}
        found = wait_for(all_met, f"{world} ranks of {self.run_id}, attempt {attempt}", timeout * PATIENCE)
        self.say(f"{world} ranks met, attempt {attempt}")
        return found

    def expect_done(self, agents: Sequence[Proc], world: int, timeout: float = 90) -> None:
        for agent in agents:
            agent.expect(0, timeout * PATIENCE)
        done = sorted(int(rank) for agent in agents for rank in re.findall(
            rf"^{self.run_id}: rank (\d+) of {world} done", agent.out, re.MULTILINE))
        expect(done == list(range(world)), f"{self.run_id}: ranks {done} of {world} were done")
        self.say("all agents ended with 0")

    def say(self, what: str) -> None:
        store = "torchrun's own store" if IS_OWN else "muster serve"
        print(f"# {self.run_id} on {store}: {what} after {time.monotonic() - self.started:.1f} s", flush=True)


def conf_for(t: Case, *more: str) -> str:
    """The rendezvous' settings; starts the store, unless torchrun brings its own."""
    if IS_OWN:
        return ",".join(more)
    t.serve()
    return ",".join(["is_host=0", *more])


def workers_of(t: Case, agent: Proc) -> list[int]:
    def parent(pid: int) -> int:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid in marked(t.mark) if pid != agent.pid and parent(pid) == agent.pid]


def test_two_jobs_one_restarts(t: Case) -> None:
    """3 agents form, run 3 x 2 ranks, one of which fails; the second attempt ends well. Another job
    on the same store sees nothing of it. Its agents are not told who serves: each tries to itself."""
    t.tell("restart.fail.4")
    t.tell("other.hold")
    job = Job(t, "restart", "3", 3, 2, conf_for(t), ["--max-restarts", "1"], FRESH)
    other = Job(t, "other", "2", 2, 1, "")
    before = other.wait_met(0, 2)
    job.wait_met(0, 6)
    job.wait_met(1, 6)
    t.tell("other.go")
    other.expect_done(other.agents, 2)
    expect(other.met(None, 2) == before, "the other job's ranks were restarted")
    job.expect_done(job.agents, 6)


def test_lost_agent(t: Case) -> None:
    """Of 2 to 3 agents one is lost with its workers; the other two meet again and go on."""
    quick = ("keep_alive_interval=1", "keep_alive_max_attempt=3", "last_call_timeout=3")
    t.tell("lost.hold")
    conf = conf_for(t, *quick)
    # The third joins within the last call of the first two, or interrupts them: either way it is in.
    job = Job(t, "lost", "2:3", 3, 1, conf, ["--max-restarts", "3"], FRESH)
    pids = job.wait_met(None, 3)
    two = list(job.met(None, 2).values())
    if two:
        job.say("one was late: two had met without it")
    victim = next(a for a in job.agents if not a.listens(t.port))  # one serves if IS_OWN
    lost = workers_of(t, victim)
    expect(set(lost) & set(pids.values()), f"{victim.name} has workers {lost}, not of {pids}")
    victim.signal(signal.SIGKILL)
    for pid in lost:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in lost), "the workers of the lost agent to die")
    job.say(f"{victim.name} killed")
    job.wait_met(None, 2, but=two)
    t.tell("lost.go")
    job.expect_done([a for a in job.agents if a is not victim], 2)

