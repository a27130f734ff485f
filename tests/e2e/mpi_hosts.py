# SPDX-License-Identifier: Apache-2.0
"""mpirun across hosts made of network namespaces (tests/hosts/mpirun.sh), for one case."""
from __future__ import annotations

import itertools
from typing import Optional, Sequence

from hosts import Hosts
from muster import BUILD, MUSTER, PATIENCE, ROOT, WORKER, Case, need_file, need_tools
from procs import Proc

SCRIPT = str(ROOT / "tests/hosts/mpirun.sh")
MUSTER_MPI = str(BUILD / "muster-mpi")
END = 40 * PATIENCE


def need_mpi() -> None:
    need_tools("mpirun")
    need_file(MUSTER_MPI)


class Mpi:
    """Hosts of one case, across which mpirun starts something."""

    def __init__(self, t: Case, count: int = 3) -> None:
        need_mpi()
        self.case = t
        self.hosts = Hosts(t, count)
        self.slots = ",".join(f"host{k}:8" for k in range(1, count + 1))
        self.numbers = itertools.count(1)

    def mpirun(self, *words: str, slots: Optional[str] = None,
               env: Optional[dict[str, str]] = None) -> Proc:
        return self.case.spawn(f"mpirun{next(self.numbers)}", [SCRIPT, slots or self.slots, *words], env)

    def per_node(self, *words: str, slots: Optional[str] = None,
                 env: Optional[dict[str, str]] = None) -> Proc:
        return self.mpirun("--map-by", "ppr:1:node", *words, slots=slots, env=env)

    def muster(self, options: Sequence[str] = (), program: Sequence[str] = ("--no-python", WORKER),
               nproc: int = 8, env: Optional[dict[str, str]] = None) -> Proc:
        return self.per_node(MUSTER, "run", "--nproc-per-node", str(nproc), *options, *program, env=env)
