# SPDX-License-Identifier: Apache-2.0
"""A rank of a gloo job that all-reduces until it is told to go; files as those of e2e_worker.c.

    fault_worker.py [--ignore-term]

Writes TURN.RANK.env once all ranks have met, TURN.RANK.signal with a line for each SIGTERM it ignores.
Reads `go` (rank 0 tells the others) and exit.TURN.RANK.
"""
from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from group_worker import total

DIRECTORY = Path(os.environ["E2E_DIR"])
RANK = int(os.environ["RANK"])


def take_turn() -> int:
    """0 for the first worker of this rank, 1 for the next, whatever is counted elsewhere."""
    with open(DIRECTORY / f"count.{RANK}", "ab") as f:
        f.write(b"x")
        f.flush()
        return os.fstat(f.fileno()).st_size - 1


def ignore_sigterm(turn: int) -> None:
    def note(signo: int, _frame: object) -> None:
        with open(DIRECTORY / f"{turn}.{RANK}.signal", "a") as f:
            f.write(f"{signo}\n")
    signal.signal(signal.SIGTERM, note)


def write_env(turn: int) -> None:
    part = DIRECTORY / f".{turn}.{RANK}.part"
    part.write_text("".join([f"pid={os.getpid()}\n", *(f"{k}={v}\n" for k, v in os.environ.items() if "\n" not in v)]))
    part.rename(DIRECTORY / f"{turn}.{RANK}.env")


def main() -> None:
    torch.set_num_threads(1)
    turn = take_turn()
    is_ignored = "--ignore-term" in sys.argv
    if is_ignored:
        ignore_sigterm(turn)
    dist.init_process_group("gloo", timeout=timedelta(seconds=120))
    world = dist.get_world_size()
    if total(RANK + 1) != world * (world + 1) // 2:
        sys.exit("all_reduce computed nonsense")
    write_env(turn)
    try:
        while total(int(RANK == 0 and (DIRECTORY / "go").exists())) == 0:
            told = DIRECTORY / f"exit.{turn}.{RANK}"
            if told.exists():
                os._exit(int(told.read_text()))
            time.sleep(0.02)
        dist.barrier()
    except RuntimeError:
        while is_ignored:  # its peer is gone; it stays until it is killed
            time.sleep(1)
        raise
    os._exit(0)  # torch's teardown aborts now and then on a loaded machine; the work is done


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # a rank whose peer is lost ends as fast as the peer did
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
