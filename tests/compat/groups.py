# SPDX-License-Identifier: Apache-2.0
"""What torch.distributed builds on a store: the default group, groups of some ranks, RPC.

    groups.py                         everything from the environment, as a launcher sets it
    groups.py HOST PORT RANK WORLD    a store made by hand, to be a client of

Each rank prints one line when all of it has worked.
"""
from __future__ import annotations

import os
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import rpc


def total(group: dist.ProcessGroup | None = None) -> int:
    """The sum of the ranks' numbers in the default group, each plus one, over a group."""
    tensor = torch.tensor([dist.get_rank() + 1])
    dist.all_reduce(tensor, group=group)
    return int(tensor.item())


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        host, port, rank, world = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=60))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world),
                          TORCHELASTIC_USE_AGENT_STORE="True")  # for RPC, which takes no store
    else:
        dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, world = dist.get_rank(), dist.get_world_size()
    sums = [total()]
    for members in (list(range(world)), [0, 1], [world - 1]):
        group = dist.new_group(members, timeout=timedelta(seconds=60))
        if rank in members:
            sums.append(total(group))
            dist.barrier(group)
    dist.monitored_barrier()
    objects: list[object] = [None] * world
    dist.all_gather_object(objects, {"rank": rank})
    assert objects == [{"rank": r} for r in range(world)], objects
    rpc.init_rpc(f"worker{rank}", rank=rank, world_size=world)
    answer = rpc.rpc_sync(f"worker{(rank + 1) % world}", torch.add, args=(torch.tensor(rank), 100))
    rpc.shutdown()
    print(f"rank {rank} of {world}: sums {sums}, rpc {int(answer)}", flush=True)
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # torch's teardown aborts now and then on a loaded machine; the work is done


if __name__ == "__main__":
    main()
