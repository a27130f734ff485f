# SPDX-License-Identifier: Apache-2.0
"""muster beside torchrun and bare fork+exec: the runs take turns, the result is a table."""
from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from job import Job, Trouble, kill_marked
from launchers import Launcher, find_launchers
from rows import EXPERIMENTS, LIMIT_S, ROWS, Experiment, Measure

ROOT = Path(__file__).resolve().parent.parent
TORCHRUN_RUNS = 5
WAITING_RUNS = 2  # of torchrun, where each takes all of LIMIT_S
PAUSE_S = 0.1

Samples = dict[str, dict[str, list[float]]]  # by measure, by launcher; inf: not within LIMIT_S


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    parser.add_argument("--row", metavar="ROW,...", default=",".join(ROWS),
                        help=f"only these of {','.join(ROWS)}")
    parser.add_argument("--only", metavar="NAME,...", default="bare,muster,torchrun",
                        help="only these of bare,muster,torchrun")
    runs = positive(os.environ.get("BENCH_RUNS", "15"))
    parser.add_argument("--runs", type=positive, default=runs,
                        help="runs of muster and bare, at most 5 of torchrun (BENCH_RUNS, 15)")
    parser.add_argument("--torchrun-runs", type=positive, help="runs of torchrun")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single value too")
    args = parser.parse_args()
    args.row = args.row.split(",")
    if unknown := set(args.row) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return args


class Bench:
    def __init__(self, build: Path, runs: int, torchrun_runs: int | None) -> None:
        self.programs = build / "bench"
        self.runs = runs
        self.torchrun_runs = torchrun_runs
        self.mark = f"{os.getpid()}.{time.monotonic_ns()}"
        self.samples: Samples = {}
        self.troubles: list[str] = []

    def runs_of(self, launcher: Launcher, experiment: Experiment) -> int:
        if launcher.name != "torchrun":
            return self.runs
        if self.torchrun_runs is not None:
            return self.torchrun_runs
        return min(self.runs, WAITING_RUNS if experiment.torchrun_waits else TORCHRUN_RUNS)

    def turns(self, experiment: Experiment, launchers: list[Launcher]) -> Iterator[Launcher]:
        """A B C A B A B C ...: the fewer runs of one spread over the others'."""
        runs = {one.name: self.runs_of(one, experiment) for one in launchers}
        rounds = max(runs.values())
        for i in range(rounds):
            for one in launchers:
                n = runs[one.name]
                if (i + 1) * n // rounds > i * n // rounds:
                    yield one

    def once(self, experiment: Experiment, launcher: Launcher, is_counted: bool = True) -> None:
        with tempfile.TemporaryDirectory(prefix="bench_", ignore_cleanup_errors=True) as name:
            job = Job(self.programs, Path(name), self.mark, experiment.live_ms)
            try:
                values = experiment.run(job, launcher)
            except Trouble as trouble:
                values = {}
                what = f"{experiment.measures[0].title}: {launcher.name}: {trouble}"
                self.troubles.append(what)
                print(what, file=sys.stderr)
            finally:
                job.close()
        for key, value in values.items() if is_counted else ():
            of_key = self.samples.setdefault(key, {})
            of_key.setdefault(launcher.name, []).append(math.inf if value is None else value)
        time.sleep(PAUSE_S)

    def run(self, experiment: Experiment, launchers: list[Launcher]) -> None:
        able = [one for one in launchers if one.name in experiment.names]
        for launcher in self.turns(experiment, able) if able else ():
            self.once(experiment, launcher)


def number(value: float) -> str:
    if math.isinf(value):
        return f"not within {LIMIT_S:g} s"
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def cell(values: list[float], unit: str) -> str:
    if not values:
        return ""
    low, middle, high = min(values), statistics.median(values), max(values)
    if low == high:
        text = number(middle)
    else:
        text = f"{number(middle)} ({number(low)} .. {number(high)})"
    if unit and not math.isinf(middle):
        text += f" {unit}"
    return f"{text}, n = {len(values)}"


def ratio(ours: list[float], theirs: list[float], unit: str) -> str:
    if not ours or not theirs or unit not in ("ms", "MB"):
        return ""
    a, b = statistics.median(ours), statistics.median(theirs)
    if math.isinf(a) or a == 0:
        return ""
    return f"> {LIMIT_S * 1000 / a:.0f}" if math.isinf(b) else number(b / a)


def table(measures: list[Measure], launchers: list[Launcher], samples: Samples) -> str:
    names = [one.name for one in launchers]
    has_ratio = {"muster", "torchrun"} <= set(names)
    heads = ["median (min .. max)"]
    heads += [" ".join(filter(None, (one.name, one.version))) for one in launchers]
    heads += ["torchrun : muster"] if has_ratio else []
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for m in measures:
        of_key = samples.get(m.key, {})
        cells = [cell(of_key.get(name, []), m.unit) for name in names]
        if has_ratio:
            cells.append(ratio(of_key.get("muster", []), of_key.get("torchrun", []), m.unit))
        lines.append("| " + " | ".join([m.title, *cells]) + " |")
    return "\n".join(lines)


def over_bare(samples: Samples) -> str:
    parts = []
    for key, what in (("first", "first worker"), ("last", "last worker")):
        of_key = samples.get(key, {})
        if of_key.get("bare") and of_key.get("muster"):
            more = statistics.median(of_key["muster"]) - statistics.median(of_key["bare"])
            parts.append(f"{what} {more:+.2f} ms")
    return f"muster over bare fork+exec, of medians: {', '.join(parts)}." if parts else ""


def machine() -> str:
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    total = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return (f"{model}, {len(os.sched_getaffinity(0))} cores, {total:.0f} GB, "
            f"Linux {platform.release()}, Python {platform.python_version()}")


def commands(launchers: list[Launcher]) -> str:
    """What was run, less the paths."""
    lines = []
    for one in launchers:
        argvs = [one.one_node()]
        if one.name != "bare":
            argvs.append(one.node(2, 29500, 3))
            argvs.append(one.node_or_spare(2, 29500, 3))
        for argv in argvs:
            short = [Path(word).name if word.startswith("/") else word for word in argv]
            lines.append("    " + shlex.join(short))
    return "\n".join(lines)


def report(measures: list[Measure], launchers: list[Launcher], bench: Bench, load: str) -> str:
    parts = [
        f"{machine()}. Load average {load} before, {os.getloadavg()[0]:.2f} after.",
        table(measures, launchers, bench.samples),
        over_bare(bench.samples) if any(m.row == "start" for m in measures) else "",
        "The commands, on one node, for the third of three (restarts as the row says), and for the "
        "third of four of which three are needed:",
        commands(launchers),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def main() -> int:
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is taken down
    build = (ROOT / os.environ.get("MUSTER_BUILD", "build/release")).resolve()
    launchers = [one for one in find_launchers(ROOT, build) if one.name in args.only.split(",")]
    if "torchrun" in args.only and all(one.name != "torchrun" for one in launchers):
        print("no torchrun in build/venv (scripts/venv.sh makes it) nor on PATH: "
              "its column is left out", file=sys.stderr)
    experiments = [e for e in EXPERIMENTS if any(m.row in args.row for m in e.measures)]
    measures = [m for e in experiments for m in e.measures if m.row in args.row]
    bench = Bench(build, args.runs, args.torchrun_runs)
    load = f"{os.getloadavg()[0]:.2f}"
    began = time.monotonic()
    try:
        for launcher in launchers:  # so that everything comes from memory, not from disk
            bench.once(EXPERIMENTS[0], launcher, is_counted=False)
        for experiment in experiments:
            rows = ", ".join(dict.fromkeys(m.row for m in experiment.measures))
            print(f"{time.monotonic() - began:5.0f} s: {rows}", file=sys.stderr)
            bench.run(experiment, launchers)
    finally:
        left = kill_marked(bench.mark)
    if left:
        bench.troubles.append(f"{left} processes were left at the end")
    print(report(measures, launchers, bench, load))
    if args.json is not None:
        args.json.write_text(json.dumps({
            "machine": machine(), "troubles": bench.troubles,
            "versions": {one.name: one.version for one in launchers},
            "samples": {key: {name: [None if math.isinf(v) else v for v in values]
                              for name, values in by.items()} for key, by in bench.samples.items()},
        }, indent=1) + "\n")
    for trouble in bench.troubles:
        print(trouble, file=sys.stderr)
    return 1 if bench.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
