# SPDX-License-Identifier: Apache-2.0
"""A rank of a gloo job that a test holds, lets fail, or lets go, by files in E2E_DIR.

JOB.hold: keep meeting the others until JOB.go is there. JOB.fail.RANK: end with status 3, unless
this is not the first attempt. Leaves JOB.ATTEMPT.WORLD.RANK, with its pid, once all have met.
"""
from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist


def total(value: int) -> int:
    """The sum over all ranks."""
    tensor = torch.tensor([value])
    dist.all_reduce(tensor)
    return int(tensor.item())


def main() -> None:
    torch.set_num_threads(1)
    directory = Path(os.environ["E2E_DIR"])
    job = os.environ["TORCHELASTIC_RUN_ID"]
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, world = dist.get_rank(), dist.get_world_size()
    if total(rank + 1) != world * (world + 1) // 2:
        sys.exit("all_reduce computed nonsense")
    part = directory / f".{job}.{attempt}.{rank}"
    part.write_text(f"{os.getpid()}\n")
    part.rename(directory / f"{job}.{attempt}.{world}.{rank}")
    if attempt == 0 and (directory / f"{job}.fail.{rank}").exists():
        os._exit(3)
    while (directory / f"{job}.hold").exists():
        if total(int(rank == 0 and (directory / f"{job}.go").exists())):
            break
    dist.barrier()
    # One write: under "python -u" print() makes two, and lines of two ranks run together.
    sys.stdout.write(f"{job}: rank {rank} of {world} done, attempt {attempt}\n")
    sys.stdout.flush()
    os._exit(0)  # torch's teardown aborts now and then on a loaded machine; the work is done


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # a rank whose peer is lost ends as fast as the peer did
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
