# SPDX-License-Identifier: Apache-2.0
"""What muster takes from Slurm's variables, without a Slurm: tasks of a step, batch scripts, the
sentences for what does not fit, and --requeue-on with a scontrol that only takes notes."""
from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Optional

from muster import MUSTER, PATIENCE, WORKER, Case, expect
from procs import Proc, wait_for

LIMIT = 120
NODES = ["osk-gpu54", "osk-gpu56", "osk-gpu91"]
NAMES = "osk-gpu[54,56,91]"


def job(**more: str) -> dict[str, str]:
    """A batch script's or a shell's."""
    return {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": NAMES, "SLURM_JOB_NUM_NODES": "3", "SLURM_NNODES": "3", **more}


def task(k: int, **more: str) -> dict[str, str]:
    """Task k of srun's, on node k."""
    return job(**{"SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": NAMES, "SLURM_STEP_NUM_NODES": "3",
                  "SLURM_STEP_TASKS_PER_NODE": "1(x3)", "SLURM_NODEID": str(k), "SLURM_PROCID": str(k),
                  "SLURM_LOCALID": "0", "SLURMD_NODENAME": NODES[k], **more})


def muster(t: Case, env: dict[str, str], *options: str) -> Proc:
    """`muster run` of /bin/true to its end, as that process of a job."""
    proc = t.spawn(f"muster{len(t.procs)}", [MUSTER, "run", *options, "--no-python", "/bin/true"], env)
    proc.wait(30 * PATIENCE)
    return proc


def errors(proc: Proc) -> list[str]:
    return [line for line in proc.err.splitlines() if "error: " in line]


def refused(proc: Proc, *texts: str) -> None:
    proc.expect(2)
    lines = errors(proc)
    expect(len(lines) == 1, f"{len(lines)} errors instead of one: {proc.err!r}")
    for text in texts:
        expect(text in lines[0], f"{text!r} is not in {lines[0]!r}")


def configured(t: Case, env: dict[str, str], name: str, *options: str) -> str:
    """The line of --print-config."""
    proc = muster(t, env, "--print-config", *options)
    proc.expect(0)
    return next(" ".join(line.split()) for line in proc.out.splitlines() if line.startswith(f"{name}:"))


# ---- refusals ----

def test_several_tasks_on_a_node(t: Case) -> None:
    env = {"SLURM_STEP_TASKS_PER_NODE": "8(x3)"}
    refused(muster(t, task(0, **env)), "srun started muster 8 times on a node", "--ntasks=3 --ntasks-per-node=1")
    for other in (muster(t, task(1, **env)), muster(t, task(0, **env, SLURM_LOCALID="1", SLURM_PROCID="1"))):
        other.expect(2)
        expect(other.err == "", f"another task says it too: {other.err!r}")
    muster(t, task(0, **env), "--standalone").expect(0)
    muster(t, task(0, **env), "--scheduler", "none").expect(0)


def test_another_number_of_nodes(t: Case) -> None:
    refused(muster(t, task(0), "--nnodes", "4"), "on 3 nodes, but --nnodes 4 was given", "--scheduler none")
    other = muster(t, task(2), "--nnodes", "4")
    other.expect(2)
    expect(other.err == "", f"another task says it too: {other.err!r}")


def test_numbers_that_disagree(t: Case) -> None:
    refused(muster(t, task(0, SLURM_STEP_NUM_NODES="4")), "SLURM_STEP_NUM_NODES says 4 nodes",
            "SLURM_STEP_NODELIST names 3")
    for k in range(2):  # only the node itself knows
        refused(muster(t, task(k, SLURMD_NODENAME="elsewhere")), "'elsewhere', which is not among the nodes")


def test_more_workers_than_gpus(t: Case) -> None:
    env = task(1, SLURM_GPUS_ON_NODE="4", SLURM_STEP_GPUS="0,1,2,3")
    refused(muster(t, env, "--nproc-per-node", "8"), "--nproc-per-node 8 is more than the 4 GPUs", "osk-gpu56")
    expect(configured(t, env, "nproc-per-node") == "nproc-per-node: 4 # Slurm", "workers are not the GPUs")


def test_srun_is_missing(t: Case) -> None:
    refused(muster(t, job()), "Slurm gave 3 nodes to job 17, but srun is missing", "`srun --ntasks=3 --ntasks-per-node=1`")
    refused(muster(t, job(), "--nnodes", "3"), "srun is missing")
    muster(t, job(), "--standalone").expect(0)
    muster(t, job(), "--nnodes", "1").expect(0)
    alone = job(SLURM_JOB_NUM_NODES="1", SLURM_NNODES="1", SLURM_JOB_NODELIST="osk-gpu54")
    there = muster(t, {**alone, "SLURMD_NODENAME": "osk-gpu54"})
    there.expect(0)
    expect("srun" not in there.err, f"on the node itself: {there.err!r}")
    elsewhere = muster(t, alone)
    elsewhere.expect(0)
    expect("this process was not started there" in elsewhere.err, f"on a login node: {elsewhere.err!r}")


# ---- what is taken ----

def test_origin_and_grace(t: Case) -> None:
    conf = t.dir / "slurm.conf"
    conf.write_text("ClusterName=x\nKillWait=40\n")
    env = task(1, SLURM_CONF=str(conf), SLURM_RESTART_COUNT="1")
    for line in ("nnodes: 3 # Slurm", "rdzv-id: 17.0.r1 # Slurm", "node-name: osk-gpu56 # Slurm", "grace: 35s # Slurm"):
        got = configured(t, env, line.split(":")[0])
        expect(got == line, f"{got!r} instead of {line!r}")
    expect(configured(t, env, "grace", "--grace", "3s") == "grace: 3s # --grace", "a given one does not win")
    one = {**task(0, SLURM_CONF=str(conf)), "SLURM_STEP_NODELIST": "osk-gpu54", "SLURM_STEP_NUM_NODES": "1",
           "SLURM_NNODES": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
    long = muster(t, one, "--grace", "60s")
    long.expect(0)
    expect(long.err.count("--grace is 60 s") == 1, f"no warning of a grace beyond KillWait: {long.err!r}")
    none = muster(t, {**one, "CUDA_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": ""})
    none.expect(0)
    expect(none.err.count("one worker: Slurm gave no GPUs") == 1,
           f"why there is one worker is not said: {none.err!r}")


# ---- requeue ----

def fake_scontrol(t: Case, status: int = 0) -> Path:
    """Its directory comes first on PATH. The file it writes its arguments to."""
    log = t.dir / "scontrol.log"
    folder = t.dir / "bin"
    folder.mkdir()
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >>"{log}"\necho "said by scontrol"\nexit {status}\n')
    program.chmod(0o755)
    t.env["PATH"] = f"{folder}:{os.environ['PATH']}"
    return log


def asked(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def agents(t: Case, *options: str, **more: str) -> list[Proc]:
    """Three nodes of two workers; the address is given, all else is Slurm's."""
    found = []
    for k in range(3):
        found.append(t.spawn(NODES[k], [MUSTER, "run", "--rdzv-endpoint", f"127.0.0.1:{t.port}", "--nproc-per-node",
                                        "2", *options, "--no-python", WORKER], task(k, **more)))
        if k == 0:
            t.wait_listening(found[0])
    return found


def end_by(t: Case, nodes: list[Proc], signo: int, go: bool, status: Optional[int] = None) -> None:
    """A signal to one agent, heard by all workers; `go`: they exit with 0 then."""
    workers = t.workers(6)
    nodes[1].signal(signo)
    wait_for(lambda: all(signo in t.signals_of(w) for w in workers.values()), "all workers to get the signal",
             30 * PATIENCE)
    if go:
        t.go()
    for node in nodes:
        node.expect(128 + signo if status is None else status, 60 * PATIENCE)


def test_requeue(t: Case) -> None:
    log = fake_scontrol(t)
    nodes = agents(t, "--requeue-on", "USR1", "--grace", "60s")
    end_by(t, nodes, signal.SIGUSR1, go=True)
    expect(asked(log) == ["requeue 17"], f"scontrol was asked {asked(log)}")
    for text in ("SIGUSR1 ended the job: asking Slurm to start it again, scontrol requeue 17", "said by scontrol",
                 "Slurm will start job 17 again"):
        said = [node.name for node in nodes if text in node.err]
        expect(said == [NODES[0]], f"{text!r} is said by {said}")


def test_requeue_of_an_array_task(t: Case) -> None:
    log = fake_scontrol(t)
    nodes = agents(t, "--requeue-on", "usr1,SIGUSR2", "--grace", "1s", SLURM_ARRAY_JOB_ID="17", SLURM_ARRAY_TASK_ID="4")
    end_by(t, nodes, signal.SIGUSR2, go=False)
    expect(asked(log) == ["requeue 17_4"], f"scontrol was asked {asked(log)}")


def test_requeue_that_fails(t: Case) -> None:
    log = fake_scontrol(t, status=1)
    nodes = agents(t, "--requeue-on", "USR1", "--grace", "60s")
    end_by(t, nodes, signal.SIGUSR1, go=True)
    expect(asked(log) == ["requeue 17"], f"scontrol was asked {asked(log)}")
    expect("scontrol requeue 17: exited with 1: the job is not started again" in nodes[0].err, nodes[0].err)


def test_no_requeue_after_other_ends(t: Case) -> None:
    log = fake_scontrol(t)
    nodes = agents(t, "--requeue-on", "USR1", "--grace", "60s")
    end_by(t, nodes, signal.SIGTERM, go=False)
    expect(asked(log) == [], f"scontrol was asked {asked(log)}")


def test_no_requeue_after_success(t: Case) -> None:
    log = fake_scontrol(t)
    nodes = agents(t, "--requeue-on", "USR1")
    t.workers(6)
    t.go()
    for node in nodes:
        node.expect(0)
    expect(asked(log) == [], f"scontrol was asked {asked(log)}")


def test_requeue_that_cannot_be(t: Case) -> None:
    refused(muster(t, {}, "--requeue-on", "USR1"), "nothing says that this is a job of Slurm's")
    refused(muster(t, task(0), "--requeue-on", "USR7"), "there is no signal 'USR7'")
    empty = t.dir / "empty"
    empty.mkdir()
    for name in ("sh", "python3"):
        (empty / name).symlink_to(shutil.which(name) or "/bin/sh")
    refused(muster(t, task(0, PATH=str(empty)), "--requeue-on", "USR1"), "--requeue-on needs Slurm's scontrol",
            "'scontrol' is not on PATH")
