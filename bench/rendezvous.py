# SPDX-License-Identifier: Apache-2.0
"""Agents of one job that meet, fail and meet again: muster's coordinator, a bare epoll server that
sends the same bytes, and torchrun's c10d rendezvous; in turns, as Markdown."""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from driver import machine, positive
from job import free_port, is_listening, wait_until
from store_report import number, rows, spread
from store_servers import FIFO_PRIORITY, find_torch, raise_file_limit

ROOT = Path(__file__).resolve().parent.parent
SPARE_FILES = 512  # of the coordinator: those it keeps free, and its own
RUN_LIMIT_S = 180
SLOTS = 8
ROWS = (  # key, what it is, unit, factor
    ("assign_s", "first connect to last ASSIGN", "ms", 1e3),
    ("assign_cpu_s", "... CPU time of the server", "ms", 1e3),
    ("stop_s", "a failure to the last agent's STOP", "ms", 1e3),
    ("stop_cpu_s", "... CPU time", "ms", 1e3),
    ("again_s", "all stopped to the last ASSIGN of the next round", "ms", 1e3),
    ("again_cpu_s", "... CPU time", "ms", 1e3),
    ("beat_cpu_s", "a heartbeat of every agent: CPU time", "ms", 1e3),
    ("status_s", "the status document", "ms", 1e3),
    ("sent", "sent to an agent until ASSIGN, mean", "bytes", 1),
    ("sent_most", "... most", "bytes", 1),
    ("memory", "the server's memory (PSS) for an agent", "bytes", 1),
)

Sample = dict[str, float]


def numbers(text: str) -> list[int]:
    return [] if text == "none" else [positive(word) for word in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/rendezvous.sh", description=__doc__)
    parser.add_argument("--agents", metavar="N,...", type=numbers,
                        help="of muster and bare (100,300,1000,3000,10000,20000)")
    parser.add_argument("--torch-agents", metavar="N,...", type=numbers,
                        help="of torchrun's rendezvous (8,16,32,64); none")
    parser.add_argument("--torch-limit", metavar="S", type=float, default=60,
                        help="how long that may take (60)")
    parser.add_argument("--runs", type=positive, help="of each (7; torchrun's: 3)")
    parser.add_argument("--fifo", action="store_true",
                        help="muster and bare under SCHED_FIFO, on a machine that is not quiet")
    parser.add_argument("--quick", action="store_true", help="100,1000,10000; torchrun 8,64; 3 runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single value too")
    args = parser.parse_args()
    if args.agents is None:
        args.agents = [100, 1000, 10000] if args.quick else [100, 300, 1000, 3000, 10000, 20000]
    if args.torch_agents is None:
        args.torch_agents = [8, 64] if args.quick else [8, 16, 32, 64]
    args.torch_runs = min(args.runs or 3, 1 if args.quick else 3)
    args.runs = args.runs or (3 if args.quick else 7)
    return args


class MeetBench:
    def __init__(self, build: Path, is_fifo: bool) -> None:
        self.is_fifo = is_fifo
        self.programs = build / "bench"
        self.muster = Path(os.environ.get("MUSTER_BIN", build / "muster")).resolve()
        self.torch = find_torch(ROOT)
        self.troubles: list[str] = []

    def trouble(self, what: str) -> None:
        self.troubles.append(what)
        print(what, file=sys.stderr)

    def place(self) -> None:
        """In a child: before all else of the machine, if that was asked for."""
        if self.is_fifo:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))

    def load(self, server: subprocess.Popen[str], port: int, agents: int,
             more: list[str]) -> Sample | None:
        argv = [str(self.programs / "rendezvous_load"), "--agents", str(agents), "--port",
                str(port), "--pid", str(server.pid), "--slots", str(SLOTS), *more]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_LIMIT_S,
                                  check=False, preexec_fn=self.place)
        except subprocess.TimeoutExpired:
            self.trouble(f"{agents} agents: not done within {RUN_LIMIT_S} s")
            return None
        finally:
            server.kill()
            server.communicate()
        if done.returncode != 0:
            self.trouble(f"{agents} agents: {done.stderr.strip()}")
            return None
        return json.loads(done.stdout)

    def run_muster(self, agents: int) -> Sample | None:
        port = free_port()
        server = subprocess.Popen([str(self.muster), "serve", "--listen", f"127.0.0.1:{port}"],
                                  stderr=subprocess.DEVNULL, text=True, preexec_fn=self.place)
        wait_until(lambda: is_listening(port), 10)
        return self.load(server, port, agents, [])

    def run_bare(self, agents: int) -> Sample | None:
        server = subprocess.Popen([str(self.programs / "bare_meet"), str(agents)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  preexec_fn=self.place)
        assert server.stdout is not None
        return self.load(server, int(server.stdout.readline()), agents, ["--bare"])

    def run_torch(self, agents: int, limit_s: float) -> Sample | None:
        """None: not within the limit."""
        assert self.torch is not None
        argv = [str(self.torch.program), str(ROOT / "bench/rendezvous_torch.py"), str(agents),
                str(limit_s)]
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True, timeout=limit_s + 60, check=False)
            found = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            return None
        return found if found["assign_s"] is not None else None


Cells = dict[tuple[str, int], list[Sample | None]]


def values(cells: Cells, name: str, agents: int, key: str, factor: float) -> list[float]:
    return [s[key] * factor for s in cells.get((name, agents), []) if s is not None and key in s]


def median(found: list[float]) -> float:
    return statistics.median(found) if found else 0.0


def table(cells: Cells, agents: int) -> str:
    lines = []
    for key, title, unit, factor in ROWS:
        ours = values(cells, "muster", agents, key, factor)
        bare = values(cells, "bare", agents, key, factor)
        if key in ("memory", "sent", "sent_most"):
            bare = []
        ratio = number(median(ours) / median(bare)) if ours and median(bare) > 0 else ""
        lines.append([f"{title}, {unit}", spread(ours), spread(bare), ratio])
    runs = len(values(cells, "muster", agents, "assign_s", 1))
    return (f"{agents} agents, {agents * SLOTS} ranks, n = {runs}:\n\n"
            + rows(["median (min .. max)", "muster", "bare", "muster : bare"], lines))


def growth(cells: Cells, counts: list[int]) -> str:
    """Time for each agent: the same for all numbers of them if the cost is linear."""
    lines = []
    for key, title, _, factor in ROWS:
        if not key.endswith("_s"):
            continue
        per = [median(values(cells, "muster", n, key, factor)) * 1e3 / n for n in counts]
        lines.append([f"{title}, \u00b5s", *map(number, per)])
    return rows(["for each agent, median", *(f"{n}" for n in counts)], lines)


def torch_table(cells: Cells, args: argparse.Namespace, title: str) -> str:
    lines = []
    for n in args.torch_agents:
        theirs = values(cells, "torch", n, "assign_s", 1e3)
        ours = values(cells, "muster", n, "assign_s", 1e3)
        runs = len(cells[("torch", n)])
        late = f"; {runs - len(theirs)} of {runs} not within {args.torch_limit:g} s"
        ratio = number(median(theirs) / median(ours)) if theirs and ours else ""
        lines.append([f"{n}", spread(ours), spread(theirs) + (late if len(theirs) < runs else ""),
                      ratio])
    return rows(["agents: all have their rank, ms", "muster", title, "torchrun : muster"], lines)


def measure(bench: MeetBench, args: argparse.Namespace) -> Cells:
    cells: Cells = {}
    began = time.monotonic()

    def note(name: str, agents: int, sample: Sample | None) -> None:
        cells.setdefault((name, agents), []).append(sample)

    for run in range(args.runs):
        for n in sorted({*args.agents, *args.torch_agents}):
            print(f"{time.monotonic() - began:5.0f} s: run {run + 1}, {n}", file=sys.stderr)
            note("muster", n, bench.run_muster(n))
            if n in args.agents:
                note("bare", n, bench.run_bare(n))
            if n in args.torch_agents and run < args.torch_runs:
                note("torch", n, bench.run_torch(n, args.torch_limit))
    return cells


def main() -> int:
    args = parse()
    build = (ROOT / os.environ.get("MUSTER_BUILD", "build/release")).resolve()
    bench = MeetBench(build, args.fifo)
    most = raise_file_limit() - SPARE_FILES
    notes = []
    if any(n > most for n in args.agents):
        notes.append(f"At most {most} agents: RLIMIT_NOFILE allows no more connections.")
        args.agents = sorted({min(n, most) for n in args.agents})
    if bench.torch is None:
        notes.append("PyTorch is not installed (scripts/venv.sh): no comparison with torchrun.")
        args.torch_agents = []
    load = os.getloadavg()[0]
    cells = measure(bench, args)
    print(f"{machine()}. Load average {load:.2f} before, {os.getloadavg()[0]:.2f} after. "
          f"muster and bare {'under SCHED_FIFO' if args.fifo else 'without SCHED_FIFO'}.\n")
    for note in notes + bench.troubles:
        print(note + "\n")
    for n in args.agents:
        print(table(cells, n) + "\n")
    if len(args.agents) > 1:
        print(growth(cells, args.agents) + "\n")
    if args.torch_agents and bench.torch is not None:
        print(torch_table(cells, args, f"torchrun {bench.torch.version}"))
    if args.json is not None:
        args.json.write_text(json.dumps({
            "machine": machine(), "notes": notes, "troubles": bench.troubles,
            "cells": [{"server": name, "agents": n, "samples": samples}
                      for (name, n), samples in cells.items()]}, indent=1) + "\n")
    return 1 if bench.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
