# SPDX-License-Identifier: Apache-2.0
"""Processes as the end-to-end tests see them: started, watched, found again by a mark."""
from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Sequence, TypeVar

MARK = "MUSTER_E2E"  # the environment variable every process of a test carries
T = TypeVar("T")


class Failure(AssertionError):
    """A claim of a test does not hold."""


class Skip(Exception):
    """The test cannot be run here; the text says why."""


def wait_for(claim: Callable[[], T], what: str, timeout: float = 20.0, interval: float = 0.02) -> T:
    """The first true value of `claim`; a Failure that says `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(interval)


def alive(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def marked(mark: str) -> list[int]:
    """Pids of all living processes whose environment carries the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environ.split(b"\0") and alive(int(entry)):
            found.append(int(entry))
    return found


def describe(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        ppid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return f"{pid} (gone)"
    return f"{pid} (parent {ppid}): {line.strip()}"


def kill_marked(mark: str) -> None:
    """SIGKILL every process of a test, by pid, until none is left."""
    for _ in range(100):
        pids = marked(mark)
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


class Proc:
    """A process that a test started. Its output is collected in two files."""

    def __init__(self, name: str, argv: Sequence[str], env: dict[str, str], directory: Path) -> None:
        self.name = name
        self.argv = list(argv)
        self.out_path = directory / f"{name}.out"
        self.err_path = directory / f"{name}.err"
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.popen = subprocess.Popen(
                self.argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=directory, start_new_session=True)
        self.pid = self.popen.pid
        self.started = time.monotonic()

    @property
    def out(self) -> str:
        return self.out_path.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self.err_path.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, signo: int) -> None:
        self.popen.send_signal(signo)

    def wait(self, timeout: float = 30.0) -> int:
        """The exit status as a shell tells it: 128 + n for a signal."""
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} still runs after {timeout:g} s") from None
        return status if status >= 0 else 128 - status

    def expect(self, status: int, timeout: float = 30.0) -> None:
        got = self.wait(timeout)
        if got != status:
            raise Failure(f"{self.name} exited with {got}, not {status}")

    def wait_err(self, text: str, timeout: float = 20.0) -> None:
        def is_there() -> bool:
            if text in self.err:
                return True
            if not self.is_running() and text not in self.err:
                raise Failure(f"{self.name} ended without saying {text!r}")
            return False
        wait_for(is_there, f"{self.name} to say {text!r}", timeout)

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def listens(self, port: int) -> bool:
        """Whether the process itself listens on a TCP port of its own network."""
        inodes = set()
        try:
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                target = os.readlink(f"/proc/{self.pid}/fd/{fd}")
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
            for table in ("tcp", "tcp6"):
                for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                    words = line.split()
                    if (words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port
                            and words[9] in inodes):
                        return True
        except OSError:
            return False
        return False
