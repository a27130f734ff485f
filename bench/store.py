# SPDX-License-Identifier: Apache-2.0
"""muster's store beside PyTorch's server, redis-server and a bare epoll echo server: short runs
that take turns, fresh servers for each cell, medians and ratios as Markdown."""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import store_report
from driver import machine, positive
from store_servers import Kind, Place, Server, find_kinds, find_place, raise_file_limit

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ("add", "get16", "get4k", "setget", "check", "barrier", "meet", "connect")
NOT_OF = {"redis": ("barrier", "meet"), "bare": ("meet",)}
SPARE_FILES = 64  # descriptors of a server that are no connections
RUN_LIMIT_S = 20
NAMES_LIMIT_S = 90
NAMES_CONNECTIONS = 256

Sample = dict[str, float]


def numbers(text: str) -> list[int]:
    return [positive(word) for word in text.split(",")]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/store.sh", description=__doc__)
    parser.add_argument("--shape", metavar="SHAPE,...", default=",".join(SHAPES),
                        help=f"only these of {','.join(SHAPES)}; none: memory only")
    parser.add_argument("--connections", metavar="N,...", type=numbers,
                        help="(1,24,256,2048,8192)")
    parser.add_argument("--server", metavar="NAME,...", default="muster,pytorch,redis,bare",
                        help="only these of muster,pytorch,redis,bare")
    parser.add_argument("--runs", type=positive, help="of each server in each cell (5)")
    parser.add_argument("--seconds", type=float, default=0.4, help="that each run measures (0.4)")
    parser.add_argument("--threads", type=int, default=0,
                        help="of the generator (one for each CPU beside the server's, at most 8)")
    parser.add_argument("--fifo", action="store_true",
                        help="everything under SCHED_FIFO, on a machine that is not quiet")
    parser.add_argument("--quick", action="store_true", help="24,2048 connections, 3 runs")
    parser.add_argument("--no-memory", action="store_true", help="no memory, no release, no names")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single value too")
    args = parser.parse_args()
    args.shape = [] if args.shape == "none" else args.shape.split(",")
    args.server = args.server.lower().split(",")
    if unknown := set(args.shape) - set(SHAPES):
        parser.error(f"no such shape: {', '.join(sorted(unknown))}")
    args.connections = args.connections or ([24, 2048] if args.quick else [1, 24, 256, 2048, 8192])
    args.runs = args.runs or (3 if args.quick else 5)
    return args


class StoreBench:
    def __init__(self, build: Path, kinds: list[Kind], place: Place, args: argparse.Namespace):
        self.programs = build / "bench"
        self.kinds = kinds
        self.place = place
        self.runs: int = args.runs
        self.seconds: float = args.seconds
        self.cells: store_report.Cells = {}
        self.holds: dict[str, list[Sample]] = {}
        self.names: dict[str, float | None] = {}
        self.troubles: list[str] = []

    def generate(self, program: str, server: Server, arguments: list[str]) -> subprocess.Popen[str]:
        argv = [str(self.programs / program), "--server", server.kind.protocol,
                "--port", str(server.port), "--pid", str(server.pid), *arguments]

        def place() -> None:
            self.place.put(os.getpid(), self.place.generator)

        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, preexec_fn=place)

    @contextlib.contextmanager
    def servers(self, kinds: list[Kind], shape: str, connections: int) -> Iterator[list[Server]]:
        started: list[Server] = []
        try:
            for kind in kinds:
                started.append(Server(kind, shape, connections,
                                      has_own_names=not self.place.is_private))
            for server in started:
                server.wait_ready(self.place)
            yield started
        finally:
            for server in started:
                server.stop()

    def load(self, server: Server, shape: str, connections: int) -> Sample | None:
        process = self.generate("store_load", server, [
            "--shape", shape, "--connections", str(connections), "--seconds", str(self.seconds),
            "--threads", str(len(self.place.generator))])
        try:
            out, errors = process.communicate(timeout=RUN_LIMIT_S)
            if process.returncode == 0:
                return json.loads(out)
        except subprocess.TimeoutExpired:
            errors = f"not done within {RUN_LIMIT_S} s"
        finally:
            process.kill()
            process.wait()
        self.trouble(f"{server.kind.name}, {shape}, {connections}: {errors.strip()}")
        return None

    def trouble(self, what: str) -> None:
        self.troubles.append(what)
        print(what, file=sys.stderr)

    def cell(self, shape: str, connections: int) -> None:
        """Each round begins with another server, so that none always follows the same one."""
        able = [kind for kind in self.kinds if shape not in NOT_OF.get(kind.name, ())]
        of_cell = self.cells.setdefault((shape, connections), {kind.name: [] for kind in able})
        with self.servers(able, shape, connections) as servers:
            for i in range(self.runs):
                turn = i % len(servers)
                for server in servers[turn:] + servers[:turn]:
                    of_cell[server.kind.name].append(self.load(server, shape, connections))

    def hold(self, kind: Kind, connections: int) -> None:
        """Memory of the server before, with idle connections, with waiting ones; the release."""
        with self.servers([kind], "hold", connections) as (server,):
            is_waiting = kind.name != "bare"
            before = server.memory()
            process = self.generate("store_hold", server, ["--connections", str(connections),
                                                           *(["--wait"] if is_waiting else [])])
            assert process.stdin is not None and process.stdout is not None
            try:
                sample: Sample = {}
                for what in ("idle", "waiting") if is_waiting else ("idle",):
                    json.loads(process.stdout.readline())
                    time.sleep(0.1)  # until the kernel's counters of pages are there
                    for key, value in server.memory().items():
                        sample[f"{what}_{key}"] = (value - before[key]) / connections
                    process.stdin.write("\n")
                    process.stdin.flush()
                if is_waiting:
                    sample |= json.loads(process.stdout.readline())
                self.holds.setdefault(kind.name, []).append(sample)
            except (ValueError, OSError):
                self.trouble(f"{kind.name}, {connections} connections that are kept: no answer")
            finally:
                process.kill()
                process.communicate()

    def look_up(self, kind: Kind) -> None:
        """What the look-up of peers' names costs PyTorch with this machine's own settings."""
        for key, has_own_names in (("hosts", False), ("own", True)):
            if not has_own_names and not self.place.is_private:
                continue
            server = Server(kind, "hold", NAMES_CONNECTIONS, has_own_names)
            process = None
            try:
                server.wait_ready(self.place)
                process = self.generate("store_hold", server,
                                        ["--connections", str(NAMES_CONNECTIONS)])
                out, _ = process.communicate("", timeout=NAMES_LIMIT_S)
                self.names[key] = json.loads(out)["open_s"]
            except subprocess.TimeoutExpired:
                self.names[key] = None
            finally:
                if process is not None:
                    process.kill()
                    process.communicate()
                server.stop()


def measure(bench: StoreBench, args: argparse.Namespace) -> int:
    """All that was asked for; how many connections were kept."""
    began = time.monotonic()
    for shape in args.shape:
        for connections in args.connections:
            print(f"{time.monotonic() - began:5.0f} s: {shape}, {connections}", file=sys.stderr)
            bench.cell(shape, connections)
    kept = max(args.connections)
    if not args.no_memory:
        print(f"{time.monotonic() - began:5.0f} s: memory, release, names", file=sys.stderr)
        for _ in range(min(bench.runs, 3)):
            for kind in bench.kinds:
                bench.hold(kind, kept)
        for kind in bench.kinds:
            if kind.name == "PyTorch":
                bench.look_up(kind)
    return kept


def main() -> int:
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is taken down
    build = (ROOT / os.environ.get("MUSTER_BUILD", "build/release")).resolve()
    files = raise_file_limit()
    kinds, notes = find_kinds(ROOT, build)
    kinds = [kind for kind in kinds if kind.name.lower() in args.server]
    place = find_place(args.threads, args.fifo)
    too_many = [n for n in args.connections if n + SPARE_FILES > files]
    if too_many:
        notes.append(f"RLIMIT_NOFILE of {files} is too low for {too_many} connections: left out.")
        args.connections = [n for n in args.connections if n not in too_many]
    if not place.is_private:
        notes.append("No private mount namespace could be made (unshare): PyTorch looks up its "
                     "peers' names with this machine's own settings.")
    if not kinds or not args.connections:
        print("bench: nothing is left to measure", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    bench = StoreBench(build, kinds, place, args)
    kept = measure(bench, args)
    print(store_report.report(store_report.Results(
        head=f"{machine()}. Load average {load:.2f} before, {os.getloadavg()[0]:.2f} after. "
             f"{place.describe()} {args.runs} runs of {args.seconds:g} s.",
        notes=notes + bench.troubles, titles={kind.name: kind.title for kind in kinds},
        cells=bench.cells, holds=bench.holds, kept=kept, names=bench.names,
        names_connections=NAMES_CONNECTIONS)))
    if args.json is not None:
        args.json.write_text(json.dumps({
            "machine": machine(), "place": place.describe(), "troubles": bench.troubles,
            "versions": {kind.name: kind.version for kind in kinds},
            "cells": [{"shape": shape, "connections": n, "samples": samples}
                      for (shape, n), samples in bench.cells.items()],
            "held": {"connections": kept, "samples": bench.holds}, "names": bench.names,
        }, indent=1) + "\n")
    return 1 if bench.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
