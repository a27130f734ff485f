# SPDX-License-Identifier: Apache-2.0
"""Devices and CPUs: how many workers, which GPU each has, where each may run."""
from __future__ import annotations

import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

from muster import BUILD, MUSTER, ROOT, Case, expect
from procs import Skip
from test_torch import torch_python

LIMIT = 180
LOCAL_MAP = str(BUILD / "workers/local_map")
FAKES = str(BUILD / "fake")
MODES = ["node", "socket", "exclusive", "core-complex"]
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
# One line a worker: who it is and where the kernel lets it run.
WHERE = ('echo "worker $RANK $LOCAL_RANK gpu=${CUDA_VISIBLE_DEVICES-unset} omp=${OMP_NUM_THREADS-unset} '
         'cpus=$(sed -n "s/^Cpus_allowed_list:.//p" /proc/self/status)"')


def need_no_gpu() -> None:
    for path in ("/proc/driver/nvidia", "/dev/nvidia0", "/sys/class/kfd"):
        if os.path.exists(path):
            raise Skip(f"this machine has {path}, the tests' GPUs would be others")


def run(t: Case, *options: str, env: dict[str, str] | None = None, wrapper: tuple[str, ...] = (),
        status: int = 0) -> Any:
    proc = t.spawn(f"run{len(t.procs)}", [*wrapper, MUSTER, "run", *options, "--no-python", "sh", "-c", WHERE], env)
    proc.expect(status)
    return proc


def workers_of(proc: Any) -> dict[int, dict[str, str]]:
    found = {}
    for rank, local, words in re.findall(r"^worker (\d+) (\d+) (.*)$", proc.out, re.MULTILINE):
        found[int(rank)] = {"local": local, **dict(word.split("=", 1) for word in words.split())}
    return found


def cpu_set(text: str) -> set[int]:
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


# ---- where torch's own code would bind ----

def write(root: Path, path: str, text: object) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def ranges(cpus: Any) -> str:
    return ",".join(str(cpu) for cpu in sorted(cpus))


def make_machine(root: Path, dice: random.Random) -> dict[str, Any]:
    """Some machine: sockets, nodes, cores, threads, caches and GPUs as they fall."""
    sockets, per_socket, threads = dice.choice([1, 2, 4]), dice.choice([1, 2, 4]), dice.choice([1, 2])
    nodes = sockets * per_socket
    cores_of = [dice.randint(1, 8) for _ in range(nodes)]
    total = sum(cores_of)
    by_core = dice.random() < 0.5  # the threads of a core are neighbours, or far apart
    cores: list[list[list[int]]] = []  # of a node: its cores, of each the CPUs
    core = 0
    for count in cores_of:
        cores.append([[(core + i) * threads + k if by_core else k * total + core + i
                       for k in range(threads)] for i in range(count)])
        core += count
    write(root, "sys/devices/system/node/online", f"0-{nodes - 1}" if nodes > 1 else "0")
    write(root, "sys/devices/system/node/possible", f"0-{nodes - 1}" if nodes > 1 else "0")
    for node, own in enumerate(cores):
        write(root, f"sys/devices/system/node/node{node}/cpulist", ranges(sum(own, [])))
        width = dice.randint(1, 4)
        for i, cpus in enumerate(own):
            shared = sum(own[i // width * width:i // width * width + width], [])
            for cpu in cpus:
                topology = f"sys/devices/system/cpu/cpu{cpu}/topology"
                write(root, f"{topology}/thread_siblings_list", ranges(cpus))
                write(root, f"{topology}/physical_package_id", node // per_socket)
                caches = [("Data", 1, cpus), ("Instruction", 1, cpus), ("Unified", 2, cpus),
                          ("Unified", 3, shared)]
                for k, (kind, level, sharers) in enumerate(caches):
                    cache = f"sys/devices/system/cpu/cpu{cpu}/cache/index{k}"
                    write(root, f"{cache}/type", kind)
                    write(root, f"{cache}/level", level)
                    write(root, f"{cache}/shared_cpu_list", ranges(sharers))
    gpus = []
    for i in range(dice.randint(1, 8)):
        gpus.append(f"{dice.choice([0, 1]):04x}:{0x10 + i:02x}:00.0")
        write(root, f"sys/bus/pci/devices/{gpus[-1]}/numa_node",
              -1 if nodes == 1 and dice.random() < 0.5 else dice.randrange(nodes))
        write(root, f"proc/driver/nvidia/gpus/{gpus[-1]}/information", f"Device Minor: \t {i}")
        write(root, f"dev/nvidia{i}", "")
    cpus = list(range(total * threads))
    allowed = cpus if dice.random() < 0.5 else dice.sample(cpus, dice.randint(1, len(cpus)))
    return {"root": str(root), "allowed": sorted(allowed), "gpus": sorted(gpus)}


def expect_torchs(machine: dict[str, Any], mode: str, torchs: list[Any]) -> bool:
    """Was there a map to compare? Where torch would fail muster has to say why in a sentence."""
    ours = subprocess.run([LOCAL_MAP, machine["root"], ranges(machine["allowed"]), mode],
                          env={}, capture_output=True, text=True, timeout=30, check=False)
    failures = [cpus for cpus in torchs if isinstance(cpus, str)]
    what = f"{machine}, {mode}: torch {torchs}, muster {ours.stdout}{ours.stderr}"
    if failures:
        # Its socket mode fails over any node without CPUs, also one that nobody needs.
        is_stray = mode == "socket" and all("min() " in text for text in failures)
        expect(ours.returncode == 2 or (is_stray and ours.returncode == 0), what)
        return False
    expect(ours.returncode == 0, what)
    found = re.findall(r"^local rank \d+: GPU (\S+), NUMA node \d+, CPUs (\S+)$", ours.stdout, re.MULTILINE)
    expect([pci for pci, _ in found] == machine["gpus"], what)
    expect([sorted(cpu_set(cpus)) for _, cpus in found] == torchs, what)
    return True


def test_maps_are_those_of_torch(t: Case) -> None:
    python = torch_python()
    seed = int(os.environ.get("MUSTER_E2E_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    dice = random.Random(seed)
    machines = [make_machine(t.dir / f"m{i}", dice) for i in range(100)]
    torchs = subprocess.run([python, str(ROOT / "tests/compat/numa_map.py")], input=json.dumps(machines),
                            capture_output=True, text=True, timeout=120, check=True)
    compared = {mode: 0 for mode in MODES}
    for machine, maps in zip(machines, json.loads(torchs.stdout)):
        for mode in MODES:
            compared[mode] += expect_torchs(machine, mode, maps[mode])
    print(f"compared: {compared}")
    expect(all(count >= 20 for count in compared.values()), f"too few maps to compare: {compared}")


# ---- where the kernel says they are ----

def test_workers_are_where_the_map_says(t: Case) -> None:
    own = os.sched_getaffinity(0)
    for mode in MODES:
        if mode == "exclusive" and len(own) < 2:
            continue
        proc = run(t, "--nproc-per-node", "2", "--numa-binding", mode, "--log-level", "info", env=NO_GPU)
        told = dict(re.findall(r"local rank (\d+): .*CPUs (\S+)$", proc.err, re.MULTILINE))
        workers = workers_of(proc)
        for rank in (0, 1):
            expect(cpu_set(workers[rank]["cpus"]) == cpu_set(told[str(rank)]), f"{mode}: {workers}, {told}")
            expect(cpu_set(workers[rank]["cpus"]) <= own, f"{mode}: more than muster may use: {workers}")


def test_within_musters_own_cpus(t: Case) -> None:
    last = max(os.sched_getaffinity(0))
    for mode in ("node", "socket", "core-complex"):
        proc = run(t, "--nproc-per-node", "2", "--numa-binding", mode, env=NO_GPU,
                   wrapper=("taskset", "-c", str(last)))
        workers = workers_of(proc)
        expect(all(w["cpus"] == str(last) for w in workers.values()), f"{mode}: {workers}")
    proc = run(t, "--nproc-per-node", "2", "--numa-binding", "exclusive", status=2, env=NO_GPU,
               wrapper=("taskset", "-c", str(last)))
    expect("use --numa-binding node" in proc.err and proc.out == "", f"{proc.err}{proc.out}")


def test_who_cannot_be_bound_runs_all_the_same(t: Case) -> None:
    proc = run(t, "--nproc-per-node", "2", "--numa-binding", "node",
               env={**NO_GPU, "LD_PRELOAD": f"{FAKES}/no_affinity.so"})
    expect(len(workers_of(proc)) == 2, proc.out)
    told = re.findall(r".*could not be bound.*", proc.err)
    expect(len(told) == 1 and "2 workers could not be bound to CPUs (Operation not permitted)" in told[0],
           proc.err)


def test_cpu_is_what_muster_may_use(t: Case) -> None:
    last = max(os.sched_getaffinity(0))
    proc = run(t, "--nproc-per-node", "cpu", wrapper=("taskset", "-c", str(last)))
    expect(len(workers_of(proc)) == 1, proc.out)


# ---- GPUs ----

def test_no_gpu(t: Case) -> None:
    need_no_gpu()
    for word in ("gpu", "xpu"):
        proc = run(t, "--nproc-per-node", word, status=2)
        expect(proc.err.count("\n") == 1 and f"--nproc-per-node {word}: no GPU" in proc.err, proc.err)


def test_gpus_of_nvml(t: Case) -> None:
    need_no_gpu()
    env = {"LD_LIBRARY_PATH": FAKES,
           "FAKE_NVML": "0000:fd:00.0 GPU-a;0000:fe:00.0 GPU-b;0000:ff:00.0 GPU-c"}
    for word in ("gpu", "auto"):
        proc = run(t, "--nproc-per-node", word, "--log-level", "info", env=env)
        expect(len(workers_of(proc)) == 3 and "3 workers on this node, by the GPUs in NVML" in proc.err,
               f"{proc.out}{proc.err}")
    proc = run(t, "--nproc-per-node", "gpu", "--virtual-local-rank",
               env={**env, "CUDA_VISIBLE_DEVICES": "GPU-c,GPU-a"})
    workers = workers_of(proc)
    expect([w["gpu"] for _, w in sorted(workers.items())] == ["GPU-c", "GPU-a"], f"{workers}")
    proc = run(t, "--nproc-per-node", "4", "--numa-binding", "node", status=2, env=env)
    expect("4 workers, but only 3 GPUs" in proc.err and proc.out == "", f"{proc.err}{proc.out}")


def test_virtual_local_rank(t: Case) -> None:
    workers = workers_of(run(t, "--nproc-per-node", "2", "--virtual-local-rank",
                             env={"CUDA_VISIBLE_DEVICES": "6, 4,5"}))
    expect({r: (w["local"], w["gpu"]) for r, w in workers.items()} == {0: ("0", "6"), 1: ("0", "4")},
           f"{workers}")
    proc = run(t, "--nproc-per-node", "2", "--virtual-local-rank", status=2,
               env={"CUDA_VISIBLE_DEVICES": "6"})
    expect("CUDA_VISIBLE_DEVICES='6' has fewer" in proc.err and proc.out == "", f"{proc.err}{proc.out}")


# ---- threads ----

def test_threads_are_told_once(t: Case) -> None:
    agents = t.agents(2, 2, ["--max-restarts", "1"])
    t.workers(4)
    t.tell("exit.0.3", "1")
    t.workers(4, turn=1)
    t.go()
    for agent in agents:
        agent.expect(0)
    told = [agent.err.count("OMP_NUM_THREADS") for agent in agents]
    expect(told == [1, 0], f"said on node 0 and node 1: {told}")
