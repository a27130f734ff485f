# SPDX-License-Identifier: Apache-2.0
"""One job of one launcher: started, watched through what its processes recorded, taken down."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "BENCH_MARK"  # the environment variable that every process of the benchmark carries
POLL_S = 0.01  # every time that counts is recorded by the processes themselves
READY_S = 60.0  # how long a launcher may take to do its ordinary work


class Trouble(Exception):
    """A launcher did not do what was to be measured."""


@dataclass(frozen=True)
class Event:
    """A line of bench/record.h."""

    name: str
    ns: int
    pid: int
    node: int
    value: str


def wait_until(claim: Callable[[], bool], limit: float) -> bool:
    end = time.monotonic() + limit
    while not claim():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def stat_of(pid: int) -> tuple[str, int] | None:
    """State and parent of a process; None if it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return words[0], int(words[1])


def is_alive(pid: int) -> bool:
    stat = stat_of(pid)
    return stat is not None and stat[0] not in "ZX"


def marked(mark: str) -> list[int]:
    """Living processes whose environment carries the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environ and int(entry) != os.getpid() and is_alive(int(entry)):
            found.append(int(entry))
    return found


def kill_marked(mark: str) -> int:
    """SIGKILL to what carries the mark until nothing is left; returns how many there were."""
    killed: set[int] = set()
    for _ in range(200):
        pids = marked(mark)
        if not pids:
            break
        for pid in pids:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    return len(killed)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Job:
    """Launchers under `clocked`, and what they and their workers recorded."""

    def __init__(self, programs: Path, directory: Path, mark: str, live_ms: int) -> None:
        self.programs = programs
        self.mark = mark
        self.dir = directory
        self.events_path = directory / "events"
        self.events_path.touch()
        self.log_path = directory / "log"
        self.live_ms = live_ms
        self.clocked: list[subprocess.Popen[bytes]] = []

    def start(self, argv: Sequence[str]) -> None:
        """One more launcher: its node number is the count of those before it."""
        env = dict(os.environ)
        env.update({
            MARK: self.mark,
            "BENCH_OUT": str(self.events_path),
            "BENCH_NODE": str(len(self.clocked)),
            "BENCH_LIVE_MS": str(self.live_ms),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.dir),
        })
        with open(self.log_path, "ab") as log:
            self.clocked.append(subprocess.Popen(
                [str(self.programs / "clocked"), *argv], env=env, cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))

    def events(self, name: str, after: int = 0) -> list[Event]:
        """What was recorded so far under this name, later than `after`."""
        found = []
        for line in self.events_path.read_text().splitlines():
            word, ns, pid, node, value = line.split()
            if word == name and int(ns) > after:
                found.append(Event(word, int(ns), int(pid), int(node), value))
        return found

    def wait_events(self, name: str, count: int, after: int = 0,
                    limit: float = READY_S) -> list[Event]:
        """Waits for that many; a Trouble if they do not come."""
        if not wait_until(lambda: len(self.events(name, after)) >= count, limit):
            came = len(self.events(name, after))
            raise self.trouble(f"{came} of {count} '{name}' after {limit:g} s")
        return self.events(name, after)

    def wait_ends(self, limit: float = READY_S) -> list[Event]:
        """Waits, without looking meanwhile, for all launchers to end by themselves."""
        for process in self.clocked:
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                raise self.trouble(f"still running after {limit:g} s") from None
        return self.events("end")

    def launcher(self, node: int) -> int:
        return next(e.pid for e in self.events("launch") if e.node == node)

    def launcher_processes(self, node: int) -> list[int]:
        """The launcher and its descendants that are not workers."""
        workers = {e.pid for e in self.events("start")}
        parents = {pid: stat[1] for pid in marked(self.mark) if (stat := stat_of(pid))}
        ours = {self.launcher(node)}
        while more := {p for p, parent in parents.items() if parent in ours} - ours - workers:
            ours |= more
        return sorted(ours)

    def trouble(self, what: str) -> Trouble:
        tail = self.log_path.read_text(errors="replace").splitlines()[-12:]
        return Trouble("\n    ".join([what, *tail]))

    def close(self) -> int:
        """Ends what is left; returns how many processes that were."""
        left = kill_marked(self.mark)
        for process in self.clocked:
            process.wait()
        return left
