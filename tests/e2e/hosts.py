# SPDX-License-Identifier: Apache-2.0
"""Hosts made of network namespaces (tests/hosts/hosts.sh), for one case."""
from __future__ import annotations

import itertools
import os
import string
import subprocess
from typing import Optional, Sequence

from muster import ROOT, WORKER, Case, expect, need_root, need_tools
from procs import Proc, Skip, alive

SCRIPT = str(ROOT / "tests/hosts/hosts.sh")


class Hosts:
    """Hosts 1..N of one case, with names of their own if given. Skips with the reason if this machine cannot make them."""

    sets = itertools.count()

    def __init__(self, t: Case, count: int = 3, names: Sequence[str] = ()) -> None:
        need_root()
        need_tools("ip", "bridge", "nsenter", "unshare")
        self.case = t
        self.count = count
        number = next(Hosts.sets) % 26**2
        letters = string.ascii_lowercase[number // 26] + string.ascii_lowercase[number % 26]
        self.id = f"{letters}{os.getpid() % 1000000}"
        self.env = {**t.env, "MUSTER_HOSTS": self.id}
        t.env["MUSTER_HOSTS"] = self.id
        t.cleanups.append(lambda: self.call("down"))
        made = self.call("up", str(count), *names)
        if made.returncode != 0:
            raise Skip(f"network namespaces are not possible here: {made.stderr.strip() or made.returncode}")

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SCRIPT, *words], env=self.env, capture_output=True, text=True,
                              timeout=60, check=False)

    def fault(self, host: int, *words: str) -> None:
        done = self.call("fault", str(host), *words)
        expect(done.returncode == 0, f"fault {host} {words}: {done.stderr}")

    def pids(self, host: int) -> list[int]:
        """Everything that lives on a host."""
        done = subprocess.run(["ip", "netns", "pids", f"{self.id}-h{host}"], capture_output=True, text=True,
                              timeout=30, check=False)
        return [pid for pid in map(int, done.stdout.split()) if alive(pid)]

    def wrapper(self, host: int) -> list[str]:
        return [SCRIPT, "exec", str(host)]

    def start(self, options: Optional[list[str]] = None, program: Optional[list[str]] = None,
              endpoint: str = "10.77.0.1", plain: bool = True) -> list[Proc]:
        agents = []
        for k in (1, 2, 3):
            agents.append(self.case.agent(
                f"node{k}", ["--nnodes", "3", "--nproc-per-node", "8", *(options or [])],
                program or [WORKER], endpoint=f"{endpoint}:{self.case.port}", plain=plain,
                wrapper=self.wrapper(k)))
            if k == 1:
                self.case.wait_listening(agents[0])
        return agents
