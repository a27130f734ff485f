# SPDX-License-Identifier: Apache-2.0
"""The programs that are compared, and how each is told to do the same thing."""
from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

WORKERS = 8  # on each node
NODES = 3


@dataclass(frozen=True)
class Launcher:
    name: str
    version: str
    program: Path
    worker: Path

    def one_node(self) -> list[str]:
        """The command for WORKERS workers on one node."""
        raise NotImplementedError

    def node(self, node: int, port: int, max_restarts: int) -> list[str]:
        """The command for one of NODES nodes; the endpoint is on node 0."""
        raise NotImplementedError

    def node_or_spare(self, node: int, port: int, max_restarts: int) -> list[str]:
        """The command for one of NODES + 1, so that NODES are left when one is lost."""
        argv = self.node(node, port, max_restarts)
        at = argv.index("--nnodes")
        return argv[:at] + self.spare_options() + argv[at + 2:]

    def spare_options(self) -> list[str]:
        """Instead of `--nnodes NODES`."""
        raise NotImplementedError

    def running_nodes(self) -> int:
        """Of NODES + 1, those that have workers."""
        raise NotImplementedError


class Bare(Launcher):
    def one_node(self) -> list[str]:
        return [str(self.program), str(WORKERS), str(self.worker)]


class Muster(Launcher):
    def one_node(self) -> list[str]:
        return [str(self.program), "run", "--nproc-per-node", str(WORKERS), "--no-python",
                str(self.worker)]

    def node(self, node: int, port: int, max_restarts: int) -> list[str]:
        return [str(self.program), "run", "--nnodes", str(NODES), "--nproc-per-node", str(WORKERS),
                "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "bench",
                "--node-name", f"node{node + 1}", "--max-restarts", str(max_restarts),
                "--no-python", str(self.worker)]

    def spare_options(self) -> list[str]:
        return ["--nnodes", str(NODES), "--spares", "1"]

    def running_nodes(self) -> int:
        return NODES


class Torchrun(Launcher):
    def one_node(self) -> list[str]:
        return [str(self.program), "--nproc-per-node", str(WORKERS), "--no-python",
                str(self.worker)]

    def node(self, node: int, port: int, max_restarts: int) -> list[str]:
        return [str(self.program), "--nnodes", str(NODES), "--nproc-per-node", str(WORKERS),
                "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}",
                "--rdzv-id", "bench", "--local-addr", "127.0.0.1",
                "--max-restarts", str(max_restarts), "--no-python", str(self.worker)]

    def spare_options(self) -> list[str]:
        return ["--nnodes", f"{NODES}:{NODES + 1}"]

    def running_nodes(self) -> int:
        return NODES + 1  # it knows no spares: all of them have workers


def output(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def find_torchrun(root: Path, worker: Path) -> Torchrun | None:
    """build/venv's, else that of $PATH; None if there is none that works."""
    for place in (root / "build/venv/bin/torchrun", shutil.which("torchrun")):
        if place is None or not os.access(place, os.X_OK):
            continue
        interpreter = Path(place).read_text().splitlines()[0].removeprefix("#!").split()
        code = "import importlib.metadata as m; print(m.version('torch'))"
        version = output([*interpreter, "-c", code])
        if version[:1].isdigit():
            return Torchrun("torchrun", version.partition("+")[0], Path(place), worker)
    return None


def find_launchers(root: Path, build: Path) -> list[Launcher]:
    """In the order of the table's columns."""
    worker = build / "bench/stamp"
    muster = Path(os.environ.get("MUSTER_BIN", build / "muster"))
    version = output([str(muster), "version"]).split()
    found: list[Launcher] = [
        Bare("bare", "", build / "bench/bare_spawn", worker),
        Muster("muster", version[1] if len(version) > 1 else "", muster, worker),
    ]
    torchrun = find_torchrun(root, worker)
    return found + ([torchrun] if torchrun is not None else [])
