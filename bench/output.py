# SPDX-License-Identifier: Apache-2.0
"""Output of 8 workers through muster, torchrun and cat: throughput, and the delay of a line."""
from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from driver import machine
from launchers import WORKERS, find_torchrun, output

ROOT = Path(__file__).resolve().parent.parent
LINES = 2000  # of each worker, where delays are measured
PAUSE_US = 1000  # between two of them
LIMIT_S = 120


@dataclass(frozen=True)
class Way:
    """How the workers' output gets to the listener; CHATTER in `command` is the worker."""
    name: str
    command: str
    stream: int  # the descriptor that the workers write to
    megabytes: int  # of each worker
    merges: bool = False  # standard error goes where standard output would


@dataclass
class Samples:
    rate: list[float]  # MB/s, of what the workers wrote
    median: list[float]  # ms
    p99: list[float]
    largest: list[float]


def ways(build: Path, logs: Path, torchrun: str | None) -> list[Way]:
    run = f"{build}/muster run --nproc-per-node {WORKERS} --log-dir {logs}"
    each = " ".join(["CHATTER &"] * WORKERS)
    found = [
        Way("cat", f"({each} wait) | cat", 1, 50),
        Way("muster, unprefixed", f"{run} --no-python CHATTER", 2, 50, True),
        Way("muster --tee 3", f"{run} --tee 3 --no-python CHATTER", 1, 50),
    ]
    if torchrun is not None:
        found.append(Way("torchrun --tee 3",
                         f"{torchrun} --nproc-per-node {WORKERS} --log-dir {logs} --tee 3 "
                         f"--no-python CHATTER", 1, 10))
    return found


def listen(build: Path, way: Way, chatter: str, logs: Path) -> list[int]:
    """One run; the numbers of bench/listener.c."""
    logs.mkdir()
    result = logs / "result"
    command = way.command.replace("CHATTER", f"{build}/bench/chatter {chatter}")
    console = "2>&1 >/dev/null" if way.merges else "2>/dev/null"
    line = f"{{ {command}; }} {console} | {build}/bench/listener {result}"
    # A session of its own, so that what hangs can be ended without a look at anybody else.
    proc = subprocess.Popen(["sh", "-c", line], stdin=subprocess.DEVNULL, start_new_session=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        status = proc.wait(LIMIT_S)
        if status != 0:
            raise RuntimeError(f"{way.name}: exit status {status}")
        return [int(word) for word in result.read_text().split()]
    finally:
        if proc.poll() is None:
            os.killpg(proc.pid, signal.SIGKILL)
            proc.wait()
        shutil.rmtree(logs, ignore_errors=True)


def measure(build: Path, way: Way, logs: Path, samples: Samples) -> None:
    size = way.megabytes * 1_000_000
    came, ns, *_ = listen(build, way, f"flood {way.stream} {size}", logs)
    if came < WORKERS * size:
        raise RuntimeError(f"{way.name}: {came} bytes of {WORKERS * size} came")
    samples.rate.append(WORKERS * size / ns * 1000)
    _, _, count, median, p99, largest = listen(build, way, f"lines {way.stream} {LINES} {PAUSE_US}", logs)
    if count != WORKERS * LINES:
        raise RuntimeError(f"{way.name}: {count} lines of {WORKERS * LINES} came")
    for values, ns in ((samples.median, median), (samples.p99, p99), (samples.largest, largest)):
        values.append(ns / 1e6)


def cell(values: list[float], unit: str) -> str:
    def number(value: float) -> str:
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    middle = number(statistics.median(values))
    return f"{middle} ({number(min(values))} .. {number(max(values))}) {unit}, n = {len(values)}"


def table(samples: dict[str, Samples]) -> str:
    lines = ["| median (min .. max) | " + " | ".join(samples) + " |", "| --- " * (len(samples) + 1) + "|"]
    for title, key, unit in (("8 workers write as fast as they can: of their bytes", "rate", "MB/s"),
                             ("a line of 8 workers that write 1000 a second each: median delay", "median", "ms"),
                             ("... 99th percentile", "p99", "ms"), ("... largest", "largest", "ms")):
        cells = [cell(getattr(one, key), unit) for one in samples.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(samples: dict[str, Samples]) -> str:
    rate = {name: statistics.median(one.rate) for name, one in samples.items()}
    parts = [f"muster, unprefixed : cat = {rate['muster, unprefixed'] / rate['cat']:.2f}"]
    if "torchrun --tee 3" in rate:
        parts.append(f"muster --tee 3 : torchrun --tee 3 = {rate['muster --tee 3'] / rate['torchrun --tee 3']:.1f}")
    return f"Rates, of medians: {'; '.join(parts)}."


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/output.sh", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="of each way, in turns (7)")
    parser.add_argument("--quick", action="store_true", help="3 runs")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build = (ROOT / os.environ.get("MUSTER_BUILD", "build/release")).resolve()
    torchrun = find_torchrun(ROOT, build / "bench/chatter")
    if torchrun is None:
        print("no torchrun in build/venv (scripts/venv.sh makes it) nor on PATH: its column is left out",
              file=sys.stderr)
    base = Path(tempfile.mkdtemp(prefix="bench_", dir=os.environ.get("BENCH_LOGS", "/dev/shm")))
    load = f"{os.getloadavg()[0]:.2f}"
    try:
        all_ways = ways(build, base / "logs", str(torchrun.program) if torchrun else None)
        samples = {way.name: Samples([], [], [], []) for way in all_ways}
        for _ in range(3 if args.quick else max(1, args.runs)):
            for way in all_ways:
                measure(build, way, base / "logs", samples[way.name])
        version = output([str(build / "muster"), "version"]).split()
        print(f"{machine()}. muster {version[1] if len(version) > 1 else '?'}, "
              f"torchrun {torchrun.version if torchrun else 'none'}. "
              f"Load average {load} before, {os.getloadavg()[0]:.2f} after.\n")
        print(table(samples) + "\n\n" + ratios(samples) + "\n\nThe commands:\n")
        for way in all_ways:
            command = way.command.replace(" ".join(["CHATTER &"] * WORKERS), "chatter & ...")
            command = command.replace("CHATTER", "chatter").replace(f"{build}/", "").replace(str(base), "/dev/shm")
            command = command.replace(str(torchrun.program), "torchrun") if torchrun else command
            print(f"    {command}{' 2>&1 >/dev/null' if way.merges else ''} | listener")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
