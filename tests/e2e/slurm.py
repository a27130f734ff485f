# SPDX-License-Identifier: Apache-2.0
"""A real Slurm for one case (tests/slurm/slurm.sh): jobs as users write them, without an address."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Optional, Sequence

from hosts import Hosts
from muster import MUSTER, PATIENCE, ROOT, WORKER, Case, expect, free_port, need_root, need_tools
from procs import Proc, Skip, wait_for

SCRIPT = str(ROOT / "tests/slurm/slurm.sh")
NODES = ("osk-gpu54", "osk-gpu56", "osk-gpu91")
STEP = 60 * PATIENCE  # seconds within which a step ends that has been told to


def muster(*options: str, program: Sequence[str] = (WORKER,), plain: bool = True) -> list[str]:
    """`muster run OPTIONS program`: nothing says where the nodes meet. `plain` adds --no-python."""
    return [MUSTER, "run", *options, *(["--no-python"] if plain else []), *program]


class Slurm:
    """A cluster. Skips with the reason if this machine cannot have one."""

    def __init__(self, t: Case, *, hosts: bool = False, gpus: int = 0, nodes: Sequence[str] = NODES,
                 kill_wait: int = 10, node_timeout: int = 300, cgroup: bool = False) -> None:
        need_root()
        need_tools("slurmctld", "slurmd", "srun", "munged")
        if cgroup and not os.access("/sys/fs/cgroup/freezer", os.W_OK):
            raise Skip("Slurm's process tracking needs a freezer of control groups v1 that can be written")
        self.case = t
        self.nodes = tuple(nodes)
        self.state = t.dir / "slurm"
        self.hosts = Hosts(t, len(nodes) + 1, (*nodes, "login")) if hosts else None
        t.env.update({"MUSTER_SLURM_NODES": " ".join(nodes), "MUSTER_SLURM_GPUS": str(gpus),
                      "MUSTER_SLURM_KILL_WAIT": str(kill_wait),
                      "MUSTER_SLURM_NODE_TIMEOUT": str(node_timeout),
                      "MUSTER_SLURM_PROCTRACK": "cgroup" if cgroup else "linuxproc"})
        t.cleanups.append(self._end)
        made = self._call("up", str(self.state), str(free_port()))
        expect("is too long" not in made.stdout, made.stdout)
        if made.returncode != 0:
            raise Skip(f"Slurm cannot be started: {made.stdout.strip()}")
        t.env["SLURM_CONF"] = str(self.state / "slurm.conf")

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        # To files: the daemons keep what they inherit, and a pipe would stay open.
        with open(self.case.dir / f"slurm-{words[0]}.log", "w+") as log:
            done = subprocess.run([SCRIPT, *words], env=self.case.env, stdout=log, stderr=log,
                                  stdin=subprocess.DEVNULL, timeout=90, check=False)
            log.seek(0)
            return subprocess.CompletedProcess(words, done.returncode, log.read(), "")

    def _end(self) -> None:
        self._call("down", str(self.state))
        for path in sorted(self.case.dir.glob("batch-*.out")):
            lines = path.read_text(errors="replace").splitlines()
            print("\n   ".join((f"-- {path.name}", *lines[-40:])))

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SCRIPT, "exec", str(self.state), *words], env=self.case.env, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)

    def command(self, *words: str) -> str:
        """What a command of Slurm's says that succeeds."""
        done = self.ask(*words)
        expect(done.returncode == 0, f"{' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    # ---- jobs ----

    def start(self, name: str, *words: str, env: Optional[dict[str, str]] = None) -> Proc:
        return self.case.spawn(name, [SCRIPT, "exec", str(self.state), *words], env)

    def run(self, *options: str, step: Sequence[str] = ("-N3", "--ntasks-per-node=1"),
            program: Sequence[str] = (WORKER,), name: str = "srun",
            env: Optional[dict[str, str]] = None, plain: bool = True) -> Proc:
        return self.start(name, "srun", *step, *muster(*options, program=program, plain=plain), env=env)

    def batch(self, script: Path, *options: str, words: Sequence[str] = ()) -> str:
        """Submit a script, whose arguments are `words`; the job's id."""
        said = self.command("sbatch", "--parsable", f"--output={self.output('%j')}", *options, str(script),
                            *words)
        expect(re.fullmatch(r"\d+", said), f"sbatch says {said!r}")
        return said

    def script(self, *lines: str, name: str = "job.sbatch") -> Path:
        path = self.case.dir / name
        path.write_text("\n".join(("#!/bin/bash", *lines, "")))
        return path

    def output(self, job: str) -> Path:
        """Where the output of a batch job is."""
        return self.case.dir / f"batch-{job}.out"

    def state_of(self, job: str) -> str:
        """RUNNING, COMPLETED, FAILED, ..."""
        return self._field(job, "JobState")

    def _field(self, job: str, name: str) -> str:
        found = re.search(rf"\b{name}=(\S+)", self.command("scontrol", "-o", "show", "job", job))
        return found.group(1) if found else ""

    def exit_code_of(self, job: str) -> str:
        """STATUS:SIGNAL"""
        return self._field(job, "ExitCode")

    def wait_state(self, job: str, *states: str, timeout: float = STEP) -> str:
        return wait_for(lambda: self.state_of(job) if self.state_of(job) in states else "",
                        f"job {job} to be {' or '.join(states)} (it is {self.state_of(job)})", timeout, 0.2)

    def start_again(self, job: str) -> None:
        """A requeued job, which would wait for two minutes; that is decided once all of it has ended."""
        def is_on_its_way() -> bool:
            if self.state_of(job) != "PENDING":
                return True
            self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # refused if it starts just now
            return False
        self.wait_state(job, "PENDING")
        wait_for(is_on_its_way, f"job {job} to start again", STEP, 1.0)

    def wait_out(self, timeout: float = STEP) -> None:
        """Until no job is left."""
        wait_for(lambda: not self.command("squeue", "-h", "-o", "%i"), "the queue to be empty", timeout, 0.2)
