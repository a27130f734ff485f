# SPDX-License-Identifier: Apache-2.0
"""A small but real data-parallel training, to try a launcher with.

    muster run --nproc-per-node 8 examples/train_ddp.py [--steps N] [--step-seconds S]

Uses NCCL and GPU LOCAL_RANK if CUDA is there, gloo on the CPU otherwise. Model and data come from
fixed seeds, and DDP averages gradients, so the final loss that each rank prints is the same on all.
"""

import argparse
import os
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--step-seconds", type=float, default=0.0,
                        help="sleep so long in each step, to have time to make something fail")
    parser.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def say(line):
    """One write for the whole line: print() makes two, which many ranks would interleave."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def make_batch(seed, device, size=32):
    """Points of a fixed function, drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 8, generator=generator)
    y = torch.sin(x.sum(dim=1, keepdim=True))
    return x.to(device), y.to(device)


def train(args, rank, world, device):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    model = DistributedDataParallel(model.to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    every = max(1, args.steps // 4)
    for step in range(args.steps):
        x, y = make_batch(1 + step * world + rank, device)
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if rank == 0 and step % every == 0:
            say(f"rank {rank}/{world} step {step} loss {loss.item():.6f}")
        if args.step_seconds > 0:
            time.sleep(args.step_seconds)
    with torch.no_grad():
        x, y = make_batch(0, device, size=256)
        return torch.nn.functional.mse_loss(model(x), y).item()


def main():
    args = parse_args()
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo")
    loss = train(args, dist.get_rank(), dist.get_world_size(), device)
    say(f"rank {dist.get_rank()} final loss {loss:.6f}")
    dist.barrier()  # nobody leaves before everybody has printed
    dist.destroy_process_group()
    # torch 2.13 on a loaded machine now and then aborts while the interpreter is torn down
    # ("terminate called without an active exception"); the work is done, so skip that.
    os._exit(0)


if __name__ == "__main__":
    main()
