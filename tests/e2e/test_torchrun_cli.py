# SPDX-License-Identifier: Apache-2.0
"""The same command lines under torchrun and under muster: what each worker gets, what is on the
console and in the log directory, how it ends. The commands are in tests/compat/torchrun_cases.py,
what may differ in tests/compat/torchrun_differences.py and docs/TORCHRUN.md.

What torchrun did is kept in build/torchrun-outcomes/, by everything it depends on; a machine that
has not run a command before runs the real thing.
"""
from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import platform
import re
import signal
import socket
import sys
from pathlib import Path

import torchrun_outcome
from muster import MUSTER, ROOT, Case, expect
from procs import Failure
from test_torch import torch_python
from torchrun_diff import Outcome, judge

sys.path.insert(0, str(ROOT / "tests/compat"))
from torchrun_cases import GROUPS, Command  # noqa: E402
from torchrun_differences import DIFFERENCES, ORDINARY  # noqa: E402

LIMIT = 600
AT_A_TIME = 2
KEPT = ROOT / "build/torchrun-outcomes"
# Code that decides what an outcome says; the table itself counts command by command.
CODE = (Path(torchrun_outcome.__file__), torchrun_outcome.WORKER, torchrun_outcome.PROGRAM)


class Bench:
    """Runs the commands of one test, each launcher's in a directory of its own."""

    def __init__(self, t: Case) -> None:
        # What a shell's background job or nohup ignores, the launchers would inherit.
        for name in ("SIGINT", "SIGQUIT", "SIGHUP"):
            signal.signal(signal.Signals[name], signal.SIG_DFL)
        self.t = t
        self.python = torch_python()
        self.torchrun = str(Path(self.python).parent / "torchrun")
        expect(os.access(self.torchrun, os.X_OK), f"{self.torchrun} is not there")
        self.env = {k: v for k, v in t.env.items() if k not in ("CUDA_VISIBLE_DEVICES", "E2E_DIR", "PYTHONPATH")}
        self.link = t.dir / "bin/torchrun"
        self.link.parent.mkdir()
        self.link.symlink_to(MUSTER)
        self.setting = "\n".join([
            self.version(), platform.platform(), platform.python_version(), socket.getfqdn(),
            str(sorted(os.sched_getaffinity(0))), *(path.read_text() for path in CODE)])
        self.count = 0

    def version(self) -> str:
        found = list(Path(self.python).parent.parent.glob("lib/python*/site-packages/torch-*.dist-info"))
        return found[0].name if found else self.python

    def run(self, command: Command, launcher: list[str]) -> Outcome:
        self.count += 1
        directory = self.t.dir / f"run{self.count}"
        run = torchrun_outcome.Run(command, launcher, directory, self.env, self.python)
        return json.loads(json.dumps(run.finish()))

    def theirs(self, command: Command) -> Outcome:
        case = dataclasses.replace(command, differs="")
        key = hashlib.sha256(f"{self.setting}\n{case!r}".encode()).hexdigest()[:24]
        kept = KEPT / f"{key}.json"
        if kept.exists():
            return json.loads(kept.read_text())
        module = [self.python, "-m", "torch.distributed.run"]
        outcome = self.run(command, module if command.as_module else [self.torchrun])
        KEPT.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.{self.count}")
        part.write_text(json.dumps(outcome, indent=1))
        part.rename(kept)
        return outcome

    def ours(self, command: Command) -> dict[str, Outcome]:
        return {name: self.run(command, argv)
                for name, argv in (("torchrun", [str(self.link)]), ("muster run", [MUSTER, "run"]))}


def complaints(bench: Bench, command: Command) -> list[str]:
    """What is wrong with one command, ready to be printed."""
    try:
        theirs = bench.theirs(command)
        wrong = {name: judge(command, theirs, ours) for name, ours in bench.ours(command).items()}
        by_link, by_name = wrong.values()
        # Called either way it is the same program: say so once.
        found = by_link + [f"as muster run: {text}" for text in by_name if text not in by_link]
    except Failure as failure:
        found = [str(failure)]
    return [f"{command.name}: {command.line.strip()[:150]}", *(f"    {text}" for text in found)] if found else []


def compare(t: Case, group: str) -> None:
    bench = Bench(t)
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        wrong = list(pool.map(lambda command: complaints(bench, command), GROUPS[group]))
    lines = [line for lines in wrong for line in lines]
    expect(not lines, f"{sum(map(bool, wrong))} of {len(wrong)} commands differ:\n" + "\n".join(lines))


def test_options(t: Case) -> None:
    compare(t, "options")


def test_options_from_the_environment(t: Case) -> None:
    compare(t, "pet")


def test_programs_and_arguments(t: Case) -> None:
    compare(t, "programs")


def test_redirects(t: Case) -> None:
    compare(t, "redirects")


def test_tee(t: Case) -> None:
    compare(t, "tee")


def test_log_directory(t: Case) -> None:
    compare(t, "log directory")


def test_nodes(t: Case) -> None:
    compare(t, "nodes")


def test_failures(t: Case) -> None:
    compare(t, "failures")


def test_signals(t: Case) -> None:
    compare(t, "signals")


def test_refused(t: Case) -> None:
    compare(t, "refused")


def test_what_a_worker_inherits(t: Case) -> None:
    compare(t, "process")


def test_every_difference_is_documented(t: Case) -> None:
    """docs/TORCHRUN.md has one row for each difference, and each is that of a command."""
    text = (ROOT / "docs/TORCHRUN.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)
    twice = sorted({row for row in rows if rows.count(row) > 1})
    expect(not twice, f"rows that are there twice: {twice}")
    expect(set(rows) == set(DIFFERENCES), f"not in both: {sorted(set(rows) ^ set(DIFFERENCES))}")
    commands = [command for group in GROUPS.values() for command in group]
    used = {name for command in commands for name in command.differs.split()} | ORDINARY
    expect(used == set(DIFFERENCES), f"no command shows: {sorted(set(DIFFERENCES) ^ used)}")
    names = [command.name for command in commands]
    expect(len(names) == len(set(names)), "two commands have one name")
