# SPDX-License-Identifier: Apache-2.0
"""Adds up ranks until the world has the wanted size, then ends: elastic_worker.py WORLD."""
from __future__ import annotations

import sys
import time

import torch
import torch.distributed as dist


def main() -> None:
    wanted = int(sys.argv[1])
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    while True:
        total = torch.tensor([rank])
        dist.all_reduce(total)
        # One write: under "python -u" print() makes two, and lines of two ranks run together.
        sys.stdout.write(f"rank {rank}: world {world} sums up to {total.item()}\n")
        sys.stdout.flush()
        if world == wanted:
            break
        time.sleep(0.05)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
