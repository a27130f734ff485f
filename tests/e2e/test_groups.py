# SPDX-License-Identifier: Apache-2.0
"""torch.distributed on muster's store: gloo, new_group, RPC; from the environment and by hand."""
from __future__ import annotations

from muster import PATIENCE, ROOT, Case, expect
from procs import Proc
from test_store import QUIET
from test_torch import torch_python

LIMIT = 120
PROGRAM = str(ROOT / "tests/compat/groups.py")


def expect_all(procs: list[Proc], world: int) -> None:
    for proc in procs:
        proc.expect(0, 90 * PATIENCE)
    everyone = world * (world + 1) // 2
    want = []
    for rank in range(world):
        sums = [everyone, everyone, *([3] if rank < 2 else []), *([world] if rank == world - 1 else [])]
        want.append(f"rank {rank} of {world}: sums {sums}, rpc {rank + 100}")
    said = sorted(line for proc in procs for line in proc.out.splitlines())
    expect(said == want, f"said {said}, not {want}")


def test_groups_and_rpc_from_the_environment(t: Case) -> None:
    options = ["--python", torch_python()]
    expect_all(t.agents(2, 2, options, [PROGRAM], plain=False, env=QUIET), 4)


def test_groups_and_rpc_with_a_store_made_by_hand(t: Case) -> None:
    t.serve()
    expect_all([t.spawn(f"rank{rank}", [torch_python(), PROGRAM, "127.0.0.1", str(t.port), str(rank), "2"], QUIET)
                for rank in range(2)], 2)
