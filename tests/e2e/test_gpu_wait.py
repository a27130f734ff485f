# SPDX-License-Identifier: Apache-2.0
"""Before a restart, the GPU memory of the dead workers: waited for, and its holders named.

The machine gets two invented GPUs in a mount namespace of the agent's own, and an NVML that says
what the test writes into a file.
"""
from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from muster import PATIENCE, Case, Worker, expect
from procs import Proc, Skip, wait_for
from test_numa import FAKES

LIMIT = 120
GPUS = ("0000:1b:00.0", "0000:4e:00.0")
# /proc/driver is hidden by a directory in which there are NVIDIA devices.
MACHINE = ("unshare", "--mount", "--propagation", "private", "sh", "-c",
           "mount -t tmpfs none /proc/driver && "
           f"mkdir -p {' '.join(f'/proc/driver/nvidia/gpus/{pci}' for pci in GPUS)} && "
           'exec "$@"', "sh")


class Node:
    """One agent with such GPUs."""

    def __init__(self, t: Case, name: str, *options: str, has_gpus: bool = True) -> None:
        done = subprocess.run([*MACHINE, "true"], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Skip(f"no mount namespace with an own /proc/driver: {done.stderr.strip()}")
        self.use_path = t.dir / f"{name}.use"
        self.mark_path = t.dir / f"{name}.mark"
        self.use("")
        env = {"LD_LIBRARY_PATH": FAKES, "FAKE_NVML_USE": str(self.use_path),
               "FAKE_NVML_MARK": str(self.mark_path),
               "FAKE_NVML": f"{GPUS[0]} GPU-a;{GPUS[1]} GPU-b"}
        self.agent = t.agent(name, ["--nproc-per-node", "1", "--numa-binding", "none", *options],
                             wrapper=MACHINE if has_gpus else (), env=env)

    def use(self, text: str) -> None:
        part = self.use_path.with_suffix(".part")
        part.write_text(text)
        part.rename(self.use_path)

    def loads(self) -> int:
        """How often NVML was loaded."""
        return len(self.mark_path.read_text().splitlines()) if self.mark_path.exists() else 0

    def wait_loads(self, count: int) -> None:
        wait_for(lambda: self.loads() >= count, f"NVML to be loaded {count} times", 20 * PATIENCE)

    def says(self, text: str) -> None:
        self.agent.wait_err(text, 20 * PATIENCE)


def first_round(t: Case, *options: str) -> tuple[Node, Worker]:
    """One node whose worker runs, and what was in use then has been looked at."""
    node = Node(t, "node1", "--nnodes", "1", *options)
    worker = t.workers(1)[0]
    node.wait_loads(1)
    return node, worker


def finish(t: Case, *agents: Proc) -> None:
    t.go()
    for agent in agents:
        agent.expect(0)


def no_worker(t: Case, turn: int) -> None:
    expect(not t.worker_files(turn), f"workers of turn {turn} are there already")


def test_restart_waits_until_the_memory_is_free(t: Case) -> None:
    node, worker = first_round(t, "--max-restarts", "1", "--gpu-free-timeout", "60s")
    node.use(f"{GPUS[1]} 31949 {worker.pid}:31949\n")
    t.tell("exit.0.0", "3")
    node.says(f"before the workers start, waiting up to 60.0 s for 31.2 GiB on GPU 1 ({GPUS[1]}) held by "
              f"process {worker.pid}, a worker of an earlier round that has ended")
    no_worker(t, 1)
    node.use("")
    t.workers(1, turn=1)
    node.says("the GPU memory is free after ")
    finish(t, node.agent)
    expect(node.agent.err.count("waiting up to") == 1, node.agent.err)


def test_memory_that_is_not_freed(t: Case) -> None:
    node, worker = first_round(t, "--max-restarts", "1", "--gpu-free-timeout", "1")
    holder = t.spawn("holder", ["sleep", "1000"], env=worker.env)
    node.use(f"{GPUS[0]} 2048 {holder.pid}:2048\n")
    t.tell("exit.0.0", "3")
    t.workers(1, turn=1)
    node.says("after 1.0 s (--gpu-free-timeout) this GPU memory is not free, and the workers start without it: "
              f"2.0 GiB on GPU 0 ({GPUS[0]}) held by process {holder.pid} (sleep 1000), started by a worker of an earlier round")
    finish(t, node.agent)
    holder.signal(signal.SIGKILL)
    holder.wait()


def test_memory_of_processes_that_cannot_be_seen(t: Case) -> None:
    node, _ = first_round(t, "--max-restarts", "1", "--gpu-free-timeout", "60s")
    wait_for(lambda: not open_nvml(node.agent), "NVML to be let go of", 20 * PATIENCE)
    node.use(f"{GPUS[0]} 4096\n")
    t.tell("exit.0.0", "3")
    node.says(f"waiting up to 60.0 s for 4.0 GiB on GPU 0 ({GPUS[0]}) held by processes that cannot be seen from here")
    no_worker(t, 1)
    node.use(f"{GPUS[0]} 100\n")
    t.workers(1, turn=1)
    finish(t, node.agent)


def open_nvml(agent: Proc) -> bool:
    return "libnvidia-ml" in Path(f"/proc/{agent.pid}/maps").read_text()


def test_nothing_is_held(t: Case) -> None:
    node, _ = first_round(t, "--max-restarts", "1")
    others = t.spawn("others", ["sleep", "1000"])
    node.use(f"{GPUS[0]} 50000 {others.pid}:50000\n")
    t.tell("exit.0.0", "3")
    t.workers(1, turn=1)
    finish(t, node.agent)
    expect(node.loads() >= 2, "nobody looked")
    expect("GPU" not in node.agent.err, node.agent.err)
    others.signal(signal.SIGKILL)
    others.wait()


def waiting(t: Case, use: str, said: str, *options: str) -> Node:
    """A node that waits, for long, with its worker of the first round dead."""
    node, worker = first_round(t, "--max-restarts", "1", *options)
    node.use(use.format(pid=worker.pid))
    t.tell("exit.0.0", "3")
    if said:
        node.says(said)
    else:
        node.wait_loads(2)
    no_worker(t, 1)
    return node


def test_a_signal_ends_the_wait(t: Case) -> None:
    node = waiting(t, GPUS[0] + " 2048 {pid}:2048\n", "waiting up to", "--gpu-free-timeout", "10m", "--grace", "10m")
    node.agent.signal(signal.SIGUSR1)
    node.says("comes before the workers have started again: dropped")
    node.agent.signal(signal.SIGTERM)
    node.agent.expect(143)
    no_worker(t, 1)


def test_a_signal_while_nvml_hangs(t: Case) -> None:
    node = waiting(t, "hang\n", "", "--gpu-free-timeout", "10m", "--grace", "10m", "--report", str(t.dir / "report"))
    node.agent.signal(signal.SIGTERM)
    node.agent.expect(143)
    no_worker(t, 1)
    expect((t.dir / "report").exists(), "no report was written")


def test_nvml_hangs(t: Case) -> None:
    node, _ = first_round(t, "--max-restarts", "2", "--gpu-free-timeout", "1")
    node.use("hang\n")
    t.tell("exit.0.0", "3")
    t.workers(1, turn=1)
    said = "the NVIDIA driver's library has not answered for 1.0 s"
    node.says(said)
    t.tell("exit.1.0", "4")  # not the same way
    t.workers(1, turn=2)
    finish(t, node.agent)
    expect(node.agent.err.count(said) == 1, "a library that hangs was asked again")


def test_nvml_hangs_from_the_start(t: Case) -> None:
    node = Node(t, "node1", "--nnodes", "1", "--max-restarts", "1", "--gpu-free-timeout", "1")
    node.use("hang-init\n")
    t.workers(1)
    t.tell("exit.0.0", "3")
    t.workers(1, turn=1)
    finish(t, node.agent)


def test_nvml_fails(t: Case) -> None:
    node, _ = first_round(t, "--max-restarts", "1")
    node.use("error\n")
    t.tell("exit.0.0", "3")
    t.workers(1, turn=1)
    finish(t, node.agent)
    expect("GPU" not in node.agent.err, node.agent.err)


def test_the_round_ends_while_one_node_waits(t: Case) -> None:
    options = ("--nnodes", "2", "--max-restarts", "2", "--gpu-free-timeout", "10m", "--grace", "10m")
    one = Node(t, "node1", *options)
    t.wait_listening(one.agent)
    two = Node(t, "node2", *options)
    workers = t.workers(2)
    one.wait_loads(1)
    one.use(f"{GPUS[0]} 2048 {workers[0].pid}:2048\n")
    t.tell("exit.0.0", "3")
    one.says("waiting up to")
    wait_for(lambda: (t.job_dir / "1.1.env").exists(), "node2's worker to run", 20 * PATIENCE)
    expect(not (t.job_dir / "1.0.env").exists(), "node1 did not wait")
    t.tell("exit.1.1", "4")
    wait_for(lambda: one.agent.err.count("waiting up to") == 2, "node1 to wait once more", 20 * PATIENCE)
    one.use("")
    wait_for(lambda: (t.job_dir / "2.1.env").exists() and (t.job_dir / "1.0.env").exists(),
             "the workers of the third round", 20 * PATIENCE)
    finish(t, one.agent, two.agent)


def never_looked(t: Case, node: Node, restarts: bool = True) -> None:
    t.workers(1)
    if restarts:
        t.tell("exit.0.0", "3")
        t.workers(1, turn=1)
    finish(t, node.agent)
    expect(node.loads() == 0, f"NVML was loaded {node.loads()} times")


def test_not_looked_at_with_timeout_0(t: Case) -> None:
    never_looked(t, Node(t, "node1", "--nnodes", "1", "--max-restarts", "1", "--gpu-free-timeout", "0"))


def test_not_looked_at_without_devices(t: Case) -> None:
    if Path("/proc/driver/nvidia").exists() or Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists():
        raise Skip("this machine has an NVIDIA GPU")
    never_looked(t, Node(t, "node1", "--nnodes", "1", "--max-restarts", "1", has_gpus=False))


def test_not_looked_at_without_restarts(t: Case) -> None:
    never_looked(t, Node(t, "node1", "--nnodes", "1"), restarts=False)
