# SPDX-License-Identifier: Apache-2.0
"""What an end-to-end test works with: a case of its own, agents, workers, the job's status."""
from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from procs import MARK, Failure, Proc, Skip, alive, describe, marked, wait_for

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MUSTER_BUILD", "build/release"))
BUILD = BUILD if BUILD.is_absolute() else ROOT / BUILD
MUSTER = os.environ.get("MUSTER_BIN", str(BUILD / "muster"))
WORKER = str(BUILD / "workers/e2e_worker")
HELLO = str(BUILD / "examples/hello_ranks")
# A slow build (sanitizers) gets more patience.
PATIENCE = float(os.environ.get("MUSTER_E2E_PATIENCE", "3" if BUILD.name in ("asan", "tsan") else "1"))

# Nothing of the shell the tests were started from may leak into a job.
FOREIGN = ("SLURM", "OMPI_", "PMIX", "TORCHELASTIC", "MUSTER", "MASTER_", "OMP_NUM_THREADS",
           "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "NODE_RANK", "E2E_", "PET_", "MAKE",
           "GLOO_SOCKET", "NCCL_SOCKET", "TP_SOCKET")


def expect(claim: Any, text: str) -> None:
    if not claim:
        raise Failure(text)


def free_port() -> int:
    """A port nobody has, below those the kernel hands out by itself."""
    for _ in range(200):
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise Failure("no free port found")


@dataclass
class Worker:
    """One worker as it described itself in its .env file."""
    turn: int
    rank: int
    pid: int
    args: list[str]
    env: dict[str, str]

    @property
    def node(self) -> int:
        return int(self.env["GROUP_RANK"])


class Status:
    """One answer of `muster status --json`. The only place that knows its field names."""

    def __init__(self, exit_code: int, text: str) -> None:
        self.exit_code = exit_code
        self.text = text
        self.data: dict[str, Any] = json.loads(text) if text.strip().startswith("{") else {}

    def job(self, run_id: Optional[str] = None) -> dict[str, Any]:
        jobs = self.data.get("jobs", [self.data] if "state" in self.data else [])
        for job in jobs:
            if run_id is None or run_id in (job.get("id"), job.get("run_id")):
                return job
        return {}

    def state(self, run_id: Optional[str] = None) -> str:
        return str(self.job(run_id).get("state", "")).lower()

    def nodes(self, run_id: Optional[str] = None) -> list[dict[str, Any]]:
        return list(self.job(run_id).get("nodes", []))

    def node(self, name: str) -> dict[str, Any]:
        return next((n for n in self.nodes() if n.get("name") == name), {})


class Case:
    """One running test: its directory, port, run id and processes."""

    def __init__(self, directory: Path, mark: str) -> None:
        self.dir = directory
        self.mark = mark
        self.port = free_port()
        self.run_id = f"job-{mark}"
        self.job_dir = directory / "job"
        self.job_dir.mkdir()
        self.procs: list[Proc] = []
        self.cleanups: list[Callable[[], None]] = []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        self.env.update({MARK: mark, "E2E_DIR": str(self.job_dir), "TMPDIR": str(directory)})
        for path in (MUSTER, WORKER):
            expect(os.access(path, os.X_OK), f"{path} is not there; run make e2e")

    # ---- processes ----

    def spawn(self, name: str, argv: Sequence[str], env: Optional[dict[str, str]] = None) -> Proc:
        proc = Proc(name, [str(a) for a in argv], {**self.env, **(env or {})}, self.dir)
        self.procs.append(proc)
        return proc

    def agent(self, name: str, options: Sequence[str], program: Sequence[str] = (WORKER,), *,
              endpoint: Optional[str] = None, run_id: Optional[str] = None,
              plain: bool = True, wrapper: Sequence[str] = (), env: Optional[dict[str, str]] = None,
              log_name: Optional[str] = None) -> Proc:
        """`muster run` as node `name`; `plain` adds --no-python."""
        argv = [*wrapper, MUSTER, "run", "--node-name", name,
                "--rdzv-endpoint", endpoint or f"127.0.0.1:{self.port}",
                "--rdzv-id", run_id or self.run_id, *options]
        argv += ["--no-python"] if plain else []
        return self.spawn(log_name or name, [*argv, *program], env)

    def agents(self, nodes: int = 3, nproc: int = 8, options: Sequence[str] = (),
               program: Sequence[str] = (WORKER,), **keywords: Any) -> list[Proc]:
        """Agents node1..nodeN. The first is the coordinator: it listens before the rest start."""
        sizes = ["--nnodes", str(nodes), "--nproc-per-node", str(nproc)]
        first = self.agent("node1", [*sizes, *options], program, **keywords)
        if nodes > 1:
            self.wait_listening(first)
        rest = [self.agent(f"node{k}", [*sizes, *options], program, **keywords)
                for k in range(2, nodes + 1)]
        return [first, *rest]

    def serve(self, host: str = "127.0.0.1", wrapper: Sequence[str] = ()) -> Proc:
        server = self.spawn("serve", [*wrapper, MUSTER, "serve", "--listen", f"{host}:{self.port}"])
        self.wait_listening(server)
        return server

    def run(self, *args: str, timeout: float = 30.0, env: Optional[dict[str, str]] = None) -> Proc:
        """`muster ARGS` to its end."""
        proc = self.spawn(f"run{len(self.procs)}", [MUSTER, *args], env)
        proc.wait(timeout * PATIENCE)
        return proc

    def wait_listening(self, proc: Proc, timeout: float = 10.0) -> None:
        def listens() -> bool:
            expect(proc.is_running(), f"{proc.name} ended instead of listening")
            return proc.listens(self.port)
        wait_for(listens, f"{proc.name} to listen on {self.port}", timeout * PATIENCE)

    # ---- status ----

    def status(self, endpoint: Optional[str] = None, wrapper: Sequence[str] = ()) -> Status:
        argv = [*wrapper, MUSTER, "status", endpoint or f"127.0.0.1:{self.port}", "--json"]
        done = subprocess.run(argv, env=self.env, cwd=self.dir, capture_output=True, text=True,
                              timeout=30, check=False)
        return Status(done.returncode, done.stdout)

    def wait_state(self, state: str, timeout: float = 20.0) -> Status:
        last: list[Status] = []

        def is_so() -> Optional[Status]:
            last[:] = [self.status()]
            return last[0] if last[0].state(self.run_id) == state else None
        try:
            return wait_for(is_so, f"the job to be {state}", timeout * PATIENCE, 0.05)
        except Failure as failure:
            raise Failure(f"{failure}; last answer ({last[0].exit_code}): {last[0].text}") from None

    # ---- workers ----

    def worker_files(self, turn: int) -> list[Path]:
        return sorted(self.job_dir.glob(f"{turn}.*.env"))

    def workers(self, count: int, turn: int = 0, timeout: float = 20.0) -> dict[int, Worker]:
        """All `count` workers of one turn (0: the first start), by rank, once all have started."""
        def stalled() -> bool:
            if len(self.worker_files(turn)) >= count:
                return True
            if self.procs and not any(proc.is_running() for proc in self.procs):
                raise Failure(f"everything ended before {count} workers of turn {turn} ran")
            return False
        wait_for(stalled, f"{count} workers of turn {turn}", timeout * PATIENCE)
        found = {}
        for path in self.worker_files(turn):
            args: list[str] = []
            env: dict[str, str] = {}
            for line in path.read_text().splitlines():
                key, _, value = line.partition("=")
                if key == "argv":
                    args.append(value)
                else:
                    env[key] = value
            rank = int(path.name.split(".")[1])
            found[rank] = Worker(turn, rank, int(env.pop("pid")), args, env)
        expect(sorted(found) == list(range(count)), f"ranks {sorted(found)}, not 0..{count - 1}")
        return found

    def tell(self, name: str, text: str = "") -> None:
        """Give the workers a command; see e2e_worker.c."""
        part = self.job_dir / f"{name}.part"
        part.write_text(text)
        part.rename(self.job_dir / name)

    def go(self) -> None:
        self.tell("go")

    def signals_of(self, worker: Worker) -> list[int]:
        path = self.job_dir / f"{worker.turn}.{worker.rank}.signal"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def grandchild_of(self, worker: Worker) -> int:
        path = self.job_dir / f"{worker.turn}.{worker.rank}.child"
        wait_for(path.exists, f"rank {worker.rank}'s grandchild")
        return int(path.read_text())

    def wait_gone(self, pids: Sequence[int], what: str, timeout: float = 10.0) -> None:
        wait_for(lambda: not any(alive(pid) for pid in pids), f"{what} to be gone",
                 timeout * PATIENCE)

    # ---- the end ----

    def assert_no_leftovers(self, timeout: float = 3.0) -> None:
        """No process that carries this test's mark is left."""
        try:
            wait_for(lambda: not marked(self.mark), "all processes to end", timeout * PATIENCE)
        except Failure:
            left = [describe(pid) for pid in marked(self.mark)]
            raise Failure("processes left behind:\n  " + "\n  ".join(left)) from None

    def close(self) -> None:
        """Undo what the test set up. Daemons a test may leave running get SIGTERM first."""
        try:
            for proc in self.procs:
                if proc.is_running() and proc.name == "serve":
                    proc.signal(signal.SIGTERM)
                    proc.wait(10 * PATIENCE)
        finally:
            for cleanup in reversed(self.cleanups):
                cleanup()


def need_tools(*names: str) -> None:
    missing = [name for name in names if shutil.which(name, path="/usr/sbin:/sbin:" + os.environ["PATH"]) is None]
    if missing:
        raise Skip(f"not installed: {' '.join(missing)}")


def need_root() -> None:
    if os.geteuid() != 0:
        raise Skip("needs root")


def need_file(path: str) -> None:
    if not os.path.exists(path):
        raise Skip(f"{os.path.relpath(path, ROOT)} is not there")
