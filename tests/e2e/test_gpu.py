# SPDX-License-Identifier: Apache-2.0
"""Real NVIDIA GPUs: muster counts what CUDA's own library shows a process, and waits for their memory."""
from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from muster import BUILD, Case, expect
from procs import Proc, Skip, wait_for
from test_gpu_wait import open_nvml
from test_numa import cpu_set, run, workers_of

LIMIT = 180
SOURCES = str(BUILD / "workers/gpu_sources")
# What cuda says of itself, in a process of its own: one line a device.
CUDA = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int(0)
if cuda.cuInit(0) == 0:
    cuda.cuDeviceGetCount(ctypes.byref(count))
for i in range(count.value):
    device, bus = ctypes.c_int(0), ctypes.create_string_buffer(32)
    cuda.cuDeviceGet(ctypes.byref(device), i)
    cuda.cuDeviceGetPCIBusId(bus, 32, device)
    print(bus.value.decode().lower())
"""


def need_gpu() -> None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise Skip("libcuda.so.1 is not here, so no NVIDIA GPU can be used") from None
    status = cuda.cuInit(0)
    if status != 0:
        raise Skip(f"cuInit() says {status}: no NVIDIA GPU can be used")


def cuda_sees(t: Case, visible: str | None) -> list[str]:
    env = {**t.env, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        env["CUDA_VISIBLE_DEVICES"] = visible
    done = subprocess.run([sys.executable, "-c", CUDA], env=env, capture_output=True, text=True,
                          timeout=60, check=True)
    return done.stdout.split()


def sources(kind: str, visible: str | None = None) -> list[list[str]]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "SLURM"))}
    if visible is not None:
        env["CUDA_VISIBLE_DEVICES"] = visible
    done = subprocess.run([SOURCES, kind], env=env, capture_output=True, text=True, timeout=60, check=True)
    print(done.stderr.strip())
    return [line.split() for line in done.stdout.splitlines()]


def same_devices(one: list[str], other: list[str]) -> bool:
    return len(one) == len(other) and all(a == b or "?" in (a, b) for a, b in zip(one, other))


def test_sources_agree(t: Case) -> None:
    need_gpu()
    nvml, other = sources("nvml"), sources("other")
    whole = [gpu for gpu in nvml if not gpu[1].startswith("MIG-")]
    expect(same_devices([g[0] for g in whole], [g[0] for g in other]), f"NVML {nvml}, without {other}")
    expect(same_devices([g[1] for g in whole], [g[1] for g in other]), f"NVML {nvml}, without {other}")
    expect(same_devices([g[0] for g in whole], cuda_sees(t, None)), f"NVML {nvml}, CUDA {cuda_sees(t, None)}")


def test_visible_devices_are_read_as_cuda_reads_them(t: Case) -> None:
    need_gpu()
    uuids = [gpu[1] for gpu in sources("nvml") if gpu[1].startswith("GPU-")]
    count = len(uuids)
    values = ["", "0", " 0", "0 ", "-1", "0,-1", f"0,{count}", f"{count}", "NoDevFiles", "none", "0,",
              "0,x", "0x", uuids[0], uuids[0][:10], f"{uuids[0]},nonsense", "GPU-0000000"]
    if count > 1:
        values += ["1,0", "1", "0,-1,1", f"{uuids[1]},{uuids[0]}", f"0,{count},1"]
    different = []
    for value in values:
        cuda, ours = cuda_sees(t, value), [gpu[0] for gpu in sources("visible", value)]
        if not same_devices(cuda, ours):
            different.append((value, cuda, ours))
    expect(not different, f"CUDA_VISIBLE_DEVICES, CUDA's, ours: {different}")


def test_one_worker_for_each_gpu(t: Case) -> None:
    need_gpu()
    t.env.pop("CUDA_VISIBLE_DEVICES", None)
    count = len(cuda_sees(t, None))
    for word in ("gpu", "auto"):
        expect(len(workers_of(run(t, "--nproc-per-node", word))) == count, f"{word}: not {count} workers")
    virtual = workers_of(run(t, "--nproc-per-node", "gpu", "--virtual-local-rank"))
    expect([w["gpu"] for _, w in sorted(virtual.items())] == [str(i) for i in range(count)], f"{virtual}")
    hidden = run(t, "--nproc-per-node", "gpu", status=2, env={"CUDA_VISIBLE_DEVICES": ""})
    expect("CUDA_VISIBLE_DEVICES='' leaves none" in hidden.err, hidden.err)


def test_workers_are_near_their_gpus(t: Case) -> None:
    need_gpu()
    t.env.pop("CUDA_VISIBLE_DEVICES", None)
    gpus = sources("visible")
    nodes = Path("/sys/devices/system/node/online")
    has_one = not nodes.exists() or len(cpu_set(nodes.read_text().strip())) == 1
    if not has_one and any(gpu[2] == "-1" for gpu in gpus):
        raise Skip("this machine does not say on which of its NUMA nodes the GPUs are")
    proc = run(t, "--nproc-per-node", "gpu", "--numa-binding", "node", "--log-level", "info")
    told = re.findall(r"local rank (\d+): GPU (\S+), NUMA node (\d+), CPUs (\S+)$", proc.err, re.MULTILINE)
    expect(same_devices([pci for _, pci, _, _ in told], [gpu[0] for gpu in gpus]), f"{told}, {gpus}")
    workers = workers_of(proc)
    for rank, _, node, cpus in told:
        expect(cpu_set(workers[int(rank)]["cpus"]) == cpu_set(cpus), f"{workers}, {told}")
        own = Path(f"/sys/devices/system/node/node{node}/cpulist")
        if own.exists():
            near = cpu_set(own.read_text().strip()) & os.sched_getaffinity(0)
            expect(cpu_set(cpus) == near, f"node {node}: {near}, {told}")


# ---- memory before a restart ----

# Takes MIB of the first GPU, writes what was free before to FILE, and stays until "go" or its death.
TAKE_MEMORY = """
import time
began = time.monotonic()
import ctypes, json, os, sys
mib, name = int(sys.argv[1]), sys.argv[2].replace("%", os.environ.get("TORCHELASTIC_RESTART_COUNT", ""))
cuda = ctypes.CDLL("libcuda.so.1")
def call(function, *args):
    status = getattr(cuda, function)(*args)
    if status != 0:
        sys.exit(f"{function}() says {status}")
device, context, pointer = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
free, total = ctypes.c_size_t(), ctypes.c_size_t()
call("cuInit", 0)
call("cuDeviceGet", ctypes.byref(device), 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
call("cuCtxSetCurrent", context)
call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(mib << 20))
with open(name + ".part", "w") as f:
    json.dump({"pid": os.getpid(), "free": free.value, "began": began}, f)
os.rename(name + ".part", name)
while not os.path.exists(os.path.join(os.environ["E2E_DIR"], "go")):
    time.sleep(0.02)
"""


def take_memory(t: Case, mib: int, name: str) -> list[str]:
    script = t.dir / "take_memory.py"
    script.write_text(TAKE_MEMORY)
    return [sys.executable, str(script), str(mib), str(t.job_dir / name)]


def start_memory_job(t: Case, *options: str) -> Proc:
    t.env.pop("CUDA_VISIBLE_DEVICES", None)
    program = take_memory(t, 2048, "ready.%")
    return t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "1", *options], program)


def told(t: Case, name: str) -> dict[str, Any]:
    wait_for((t.job_dir / name).exists, name, 60)
    return json.loads((t.job_dir / name).read_text())


def restart_three_times(t: Case, *options: str) -> tuple[Proc, list[int]]:
    """Kills the worker of each round; what was free when the next began, in bytes."""
    agent = start_memory_job(t, "--max-restarts", "3", *options)
    frees, spans = [], []
    killed = 0.0
    for turn in range(4):
        worker = told(t, f"ready.{turn}")
        frees.append(worker["free"])
        if turn > 0:
            spans.append(f"{(worker['began'] - killed) * 1e3:.0f} ms")
        if turn < 3:
            killed = time.monotonic()
            os.kill(worker["pid"], signal.SIGKILL)
    t.go()
    agent.expect(0)
    print(agent.err)
    print(f"{' '.join(options)}: MiB free at each start {[free >> 20 for free in frees]}; from kill to the "
          f"next worker {spans}")
    return agent, frees


def test_memory_of_a_killed_worker_is_back_at_the_restart(t: Case) -> None:
    need_gpu()
    agent, frees = restart_three_times(t, "--gpu-free-timeout", "10s")
    expect(min(frees) > frees[0] - (256 << 20), f"memory is missing at a restart: {frees}")
    expect("is not free" not in agent.err and "has not answered" not in agent.err, agent.err)


def test_restart_without_a_look_at_memory(t: Case) -> None:
    """For comparison: what is printed is of interest."""
    need_gpu()
    agent, _ = restart_three_times(t, "--gpu-free-timeout", "0")
    expect("GPU memory" not in agent.err, agent.err)


def test_who_holds_memory_at_a_restart_is_waited_for_and_named(t: Case) -> None:
    """
    The holder is started by the test with a worker's environment, as a container engine or a daemon
    would on a worker's behalf: what a worker starts itself is killed with it.
    """
    need_gpu()
    agent = start_memory_job(t, "--max-restarts", "2", "--gpu-free-timeout", "3")
    first = told(t, "ready.0")
    wait_for(lambda: not open_nvml(agent), "NVML to be let go of", 30)
    worker_env = dict(entry.split("=", 1) for entry in
                      Path(f"/proc/{first['pid']}/environ").read_text().split("\0") if "=" in entry)
    holder = t.spawn("holder", take_memory(t, 1024, "held"), worker_env)
    told(t, "held")
    os.kill(first["pid"], signal.SIGKILL)
    agent.wait_err("after 3.0 s (--gpu-free-timeout) this GPU memory is not free", 30)
    second = told(t, "ready.1")
    os.kill(second["pid"], signal.SIGKILL)
    wait_for(lambda: agent.err.count("waiting up to 3.0 s for") == 2, "muster to wait again", 30, 0.005)
    holder.signal(signal.SIGKILL)
    holder.wait()
    agent.wait_err("the GPU memory is free after", 30)
    told(t, "ready.2")
    t.go()
    agent.expect(0)
    print(agent.err)
    is_named = f"held by process {holder.pid} (" in agent.err
    print("NVML tells pids here" if is_named else "NVML tells no pids of here: only the sum was to be seen")
    expect(is_named or "held by processes that cannot be seen from here" in agent.err, agent.err)
