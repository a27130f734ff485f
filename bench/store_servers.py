# SPDX-License-Identifier: Apache-2.0
"""The servers of the store benchmark: found, started, placed on a CPU, stopped."""
from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from job import free_port, is_listening, wait_until
from launchers import output

READY_S = 60.0
FIFO_PRIORITY = 5
ANSWER = {"get16": 24, "get4k": 4104, "setget": 24, "check": 1, "barrier": 1}  # bytes; else 8

# A parent that only waits; the server is a thread of libuv in it.
TORCH = """
import sys, torch.distributed
store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, use_libuv=True)
print(store.port, flush=True)
sys.stdin.read()
"""
# Names of /etc/hosts only: PyTorch's server asks for that of every peer, in its loop.
HOSTS_ONLY = """
file=$(mktemp) && echo 'hosts: files' >"$file" && mount --bind "$file" /etc/nsswitch.conf &&
    rm "$file" && exec "$@"
"""


@dataclass(frozen=True)
class Place:
    """Where things run: the server on one CPU, the generator on others, both before all else."""

    server: list[int]
    generator: list[int]
    is_fifo: bool
    is_private: bool  # a mount namespace can be had

    def put(self, pid: int, cpus: list[int]) -> None:
        """Every thread of a process."""
        for task in Path(f"/proc/{pid}/task").iterdir():
            tid = int(task.name)
            os.sched_setaffinity(tid, cpus)
            if self.is_fifo:
                os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))

    def describe(self) -> str:
        how = ("both under SCHED_FIFO" if self.is_fifo else
               "without SCHED_FIFO: other processes of the machine disturb")
        return (f"The server on CPU {listed(self.server)}, the generator with "
                f"{len(self.generator)} thread(s) on CPU {listed(self.generator)}, {how}.")


def listed(cpus: list[int]) -> str:
    return f"{cpus[0]}" if len(cpus) == 1 else f"{cpus[0]}-{cpus[-1]}"


def succeeds(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


def siblings(cpu: int) -> set[int]:
    """The CPUs of the same core, this one too."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        text = path.read_text().strip()
    except OSError:
        return {cpu}
    found = {cpu}
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def find_place(threads: int, wants_fifo: bool) -> Place:
    cpus = sorted(os.sched_getaffinity(0))
    apart = [cpu for cpu in cpus if cpu not in siblings(cpus[0])]
    others = apart or cpus[1:] or cpus
    if threads == 0:
        threads = min(8, len(others))
    fifo = wants_fifo and succeeds(["chrt", "-f", str(FIFO_PRIORITY), "true"])
    private = succeeds(["unshare", "-m", "sh", "-c", HOSTS_ONLY, "sh", "true"])
    return Place(cpus[:1], others[:threads], fifo, private)


def raise_file_limit() -> int:
    """Inherited by the servers; how many descriptors that are."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@dataclass(frozen=True)
class Kind:
    """A server that can be started."""

    name: str  # of the column
    protocol: str  # --server of the generator
    version: str
    program: Path

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.name, self.version)))

    def command(self, shape: str, connections: int, port: int) -> list[str]:
        if self.name == "bare":
            together = connections if shape == "barrier" else 1
            return [str(self.program), str(ANSWER.get(shape, 8)), str(together)]
        if self.name == "redis":
            return [str(self.program), "--port", str(port), "--bind", "127.0.0.1",
                    "--protected-mode", "no", "--save", "", "--appendonly", "no",
                    "--maxclients", "19000", "--tcp-backlog", "4096"]
        if self.name == "PyTorch":
            return [str(self.program), "-c", TORCH]
        return [str(self.program), "serve", "--listen", f"127.0.0.1:{port}"]


class Server:
    """One running server. Fresh ones are started for each cell of the tables."""

    def __init__(self, kind: Kind, shape: str, connections: int,
                 has_own_names: bool = False) -> None:
        """has_own_names: looks up its peers' names as this machine is configured."""
        self.kind = kind
        self.tells_port = kind.name in ("bare", "PyTorch")
        self.port = 0 if self.tells_port else free_port()
        argv = kind.command(shape, connections, self.port)
        if kind.name == "PyTorch" and not has_own_names:
            argv = ["unshare", "-m", "sh", "-c", HOSTS_ONLY, "sh", *argv]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, cwd="/")
        self.pid = self.process.pid  # unshare and sh become what they start

    def wait_ready(self, place: Place) -> None:
        if self.tells_port:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            self.port = int(line) if line.strip().isdigit() else 0
        if not wait_until(lambda: self.port != 0 and is_listening(self.port)
                          or self.process.poll() is not None, READY_S) or self.process.poll():
            raise RuntimeError(f"{self.kind.name} does not serve")
        place.put(self.pid, place.server)

    def memory(self) -> dict[str, int]:
        """Bytes: what is resident, and what of it is private and written."""
        found = {"Rss": 0, "Private_Dirty": 0}
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
        return found

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def find_torch(root: Path) -> Kind | None:
    """build/venv's, else that of python3; None if there is none."""
    for python in (root / "build/venv/bin/python", shutil.which("python3")):
        if python is None or not os.access(python, os.X_OK):
            continue
        version = output([str(python), "-c",
                          "import importlib.metadata as m; print(m.version('torch'))"])
        if version[:1].isdigit():
            return Kind("PyTorch", "c10d", version.partition("+")[0], Path(python))
    return None


def find_kinds(root: Path, build: Path) -> tuple[list[Kind], list[str]]:
    """What can be measured, in the order of the columns, and a line for each that cannot."""
    muster = Path(os.environ.get("MUSTER_BIN", build / "muster")).resolve()
    words = output([str(muster), "version"]).split()
    kinds = [Kind("muster", "c10d", words[1] if len(words) > 1 else "", muster)]
    missing = []
    if torch := find_torch(root):
        kinds.append(torch)
    else:
        missing.append("PyTorch is not installed (scripts/venv.sh): its columns are left out.")
    if redis := shutil.which("redis-server"):
        found = re.search(r"v=(\S+)", output([redis, "--version"]))
        kinds.append(Kind("redis", "redis", found[1] if found else "", Path(redis)))
    else:
        missing.append("redis-server is not installed (scripts/setup.sh bench): its columns are "
                       "left out.")
    kinds.append(Kind("bare", "bare", "", build / "bench/bare_echo"))
    return kinds, missing
