# SPDX-License-Identifier: Apache-2.0
"""One command line under one launcher, and all that can be seen of it, in words that do not depend
on the directory, the ports and the random names of that run."""
from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterable, Optional

from muster import PATIENCE, ROOT, free_port
from procs import Failure, wait_for

sys.path.insert(0, str(ROOT / "tests/compat"))
from torchrun_cases import Command  # noqa: E402

WORKER = ROOT / "tests/compat/torchrun_worker.py"
PROGRAM = ROOT / "tests/compat/torchrun_worker.sh"
LIMIT_S = 45.0  # of one command
Outcome = dict[str, Any]

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEMP = re.compile(r"<dir>/tmp/(?:torchelastic|muster)_[a-z0-9_]{8}(?=/|$)")
RUN_DIR = re.compile(r"((?:<temp>|<dir>/[a-z/]+|\.\./[a-z]+)/[^/ ]+_)[a-z0-9_]{8}(?=/attempt_|$)", re.MULTILINE)


def holders(directory: Path) -> list[int]:
    """Pids of the living processes that were started with this directory for their records."""
    wanted = f"TRW_DIR={directory}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if wanted in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
            except OSError:
                continue
    return found


class Run:
    """A command of the table in a directory of its own, under `launcher` (an argument vector)."""

    def __init__(self, command: Command, launcher: list[str], directory: Path, env: dict[str, str],
                 python: str) -> None:
        self.command = command
        self.dir = directory
        self.records = directory / "records"
        self.port = free_port()
        self.python = python
        self.lay_out()
        self.launch_env = {
            **env, "TMPDIR": str(directory / "tmp"), "TRW_DIR": str(self.records),
            "PATH": f"{directory / 'bin'}:{Path(python).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(directory / "modules"), "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8", "TRW_DO": json.dumps(command.do),
            **{k: self.fill(v) for k, v in command.env.items()},
        }
        self.agents = [self.start(k, launcher, extra) for k, extra in enumerate(command.agents)]

    def lay_out(self) -> None:
        """What the commands of the table refer to: modules, a directory on PATH, a work directory."""
        for name in ("records", "tmp", "bin", "modules/trw_package", "work", "result", "there/old"):
            (self.dir / name).mkdir(parents=True)
        for name in ("trw_module.py", "trw_package/__main__.py"):
            (self.dir / "modules" / name).symlink_to(WORKER)
        (self.dir / "modules/trw_package/__init__.py").touch()
        (self.dir / "bin/trw_program").symlink_to(PROGRAM)
        for name in ("work/here.py", "worker0.py"):
            (self.dir / name).symlink_to(WORKER)
        (self.dir / "work/no_program").touch(0o644)
        (self.dir / "file").write_text("a file\n")
        (self.dir / "there/old/kept").write_text("kept\n")

    def fill(self, text: str) -> str:
        places = {"{worker}": WORKER, "{program}": PROGRAM, "{dir}": self.dir, "{port}": self.port}
        for place, value in places.items():
            text = text.replace(place, str(value))
        return text

    def start(self, number: int, launcher: list[str], extra: str) -> subprocess.Popen[bytes]:
        words = [self.fill(w) for w in shlex.split(extra) + shlex.split(self.command.line)]
        stdin_path = self.dir / "stdin"
        stdin_path.write_text(self.command.stdin)
        wrapper = [self.fill(w) for w in shlex.split(self.command.wrapper)]
        with open(stdin_path, "rb") as stdin, open(self.dir / f"{number}.out", "wb") as out, \
                open(self.dir / f"{number}.err", "wb") as err:
            return subprocess.Popen([*wrapper, *launcher, *words], cwd=self.dir / "work", stdin=stdin,
                                    stdout=out, stderr=err, start_new_session=True,
                                    env={**self.launch_env, "TRW_AGENT": str(number)})

    def finish(self) -> Outcome:
        try:
            if self.command.signal:
                self.send()
            statuses = []
            for agent in self.agents:
                try:
                    statuses.append(agent.wait(LIMIT_S * PATIENCE))
                except subprocess.TimeoutExpired:
                    statuses.append("still running")
                    agent.kill()
                    agent.wait()
            return self.outcome(statuses, self.sweep())
        finally:
            for agent in self.agents:
                agent.kill()
                agent.wait()
            self.sweep()

    def send(self) -> None:
        """The signal of the command to its first launcher, once its workers are ready for it."""
        def is_ready() -> bool:
            if any(agent.poll() is not None for agent in self.agents):
                raise Failure(f"{self.command.name}: a launcher ended before the signal was sent: "
                              + (self.dir / "0.err").read_text(errors="replace")[-2000:])
            return len(list(self.records.glob("ready.*"))) >= self.command.ready
        wait_for(is_ready, f"{self.command.name}: {self.command.ready} workers", LIMIT_S * PATIENCE)
        for name in self.command.signal.split():
            self.agents[0].send_signal(signal.Signals[name])

    def sweep(self) -> int:
        """How many processes have outlived the launchers; they are killed."""
        end = time.monotonic() + 0.5 * PATIENCE
        left = holders(self.records)
        while left and time.monotonic() < end:
            time.sleep(0.05)
            left = holders(self.records)
        count = len(left)
        while left:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
            left = holders(self.records)
        return count

    # ---- what is seen ----

    def plain(self, text: str) -> str:
        for path, name in ((self.dir, "<dir>"), (WORKER, "<worker>"), (PROGRAM, "<program>"), (ROOT, "<root>")):
            text = text.replace(str(path), name)
        text = TEMP.sub("<temp>", UUID.sub("<uuid>", text))
        return RUN_DIR.sub(r"\1<random>", text).replace(str(self.port), "<port>")

    def outcome(self, statuses: list[Any], left: int) -> Outcome:
        seen: Outcome = {"processes left": left}
        for number, status in enumerate(statuses):
            seen[f"launcher {number}: exit status"] = status
            for stream in ("out", "err"):
                text = (self.dir / f"{number}.{stream}").read_bytes().decode(errors="backslashreplace")
                lines, others = self.console(text)
                seen[f"launcher {number}: {stream}"] = lines
                if stream == "out":
                    seen[f"launcher {number}: says on out"] = bool(others)
                elif status == 0 and len(statuses) == 1:
                    seen[f"launcher {number}: says on err"] = bool(others)
        for path in sorted(self.records.glob("rank.*")):
            self.add_worker(seen, path)
        for path in sorted(self.records.glob("program.*")):
            for line in path.read_text().splitlines():
                key, _, value = line.partition(" ")
                seen.setdefault(f"{path.name}: {key}", []).append(self.plain(value))
        for top in ("logs", "tmp", "there", "result"):
            self.add_tree(seen, top)
        return seen

    def console(self, text: str) -> tuple[list[str], list[str]]:
        """What workers wrote, by rank and in order within a rank; and what the launcher did, who may
        quote workers in lines of its own: those begin with its name or a space."""
        lines = [line for line in text.split("\n") if line]
        ours = [self.plain(line) for line in lines if "#w " in line and not line.startswith((" ", "muster"))]
        return sorted(ours, key=lambda line: line.split("#w ")[1].split(" ")[0]), \
            [line for line in lines if "#w " not in line]

    def add_worker(self, seen: Outcome, path: Path) -> None:
        agent, rank, turn = path.name.split(".")[1:]
        record = json.loads(path.read_text())
        who = f"worker {agent}, rank {rank}, turn {turn}"
        env = record.pop("env")
        seen[f"{who}: ran"] = True
        for name in sorted({*env, *self.launch_env}):
            before = self.launch_env.get(name, str(agent) if name == "TRW_AGENT" else None)
            if env.get(name) != before:
                seen[f"{who}: ${name}"] = self.variable(name, env.get(name))
        argv = record.pop("argv")
        names = {self.python, *(str(Path(self.python).parent / n) for n in ("python", "python3"))}
        argv = ["<python>" if os.path.realpath(argv[0]) == os.path.realpath(self.python) or argv[0] in names
                else argv[0], *argv[1:]]
        seen[f"{who}: argv"] = [self.plain(a) for a in argv]
        for fd, kind in record.pop("fds").items():
            seen[f"{who}: fd {fd}"] = self.plain(kind)
        for key, value in record.items():
            seen[f"{who}: {key}"] = self.plain(value) if isinstance(value, str) else value

    def variable(self, name: str, value: Optional[str]) -> str:
        if value is None:
            return "<removed>"
        if name == "MASTER_PORT" and value != str(self.port):
            return "<another port>"
        return self.plain(value)

    def add_tree(self, seen: Outcome, top: str) -> None:
        for path in sorted(self.walk(self.dir / top)):
            name = self.plain(str(path))
            if path.is_dir():
                seen[f"directory {name}"] = True
            elif path.suffix == ".json":
                seen[f"file {name}"] = self.error_file(path)
            else:
                text = self.plain(path.read_text(errors="backslashreplace"))
                key = path.name.startswith("filtered") and sorted(text.splitlines())
                seen[f"file {name}"] = key or text

    @staticmethod
    def walk(top: Path) -> Iterable[Path]:
        return [top, *top.rglob("*")] if top.is_dir() else [top] if top.exists() else []

    @staticmethod
    def error_file(path: Path) -> Any:
        """An error file without what changes from run to run: the time, line numbers of torch."""
        try:
            record = json.loads(path.read_text())
            if isinstance(record["message"], dict):
                extra = record["message"].pop("extraInfo", {})
                record["message"]["extraInfo"] = sorted(extra)
            return record
        except (ValueError, KeyError, TypeError):
            return path.read_text(errors="backslashreplace")
