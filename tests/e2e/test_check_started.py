# SPDX-License-Identifier: Apache-2.0
"""`muster check` as schedulers and launchers start it: nobody says an address, and it finds the others."""
from __future__ import annotations

import json
import os
import subprocess

from hosts import Hosts
from launch import HOSTS, fake_ssh, host_file
from muster import BUILD, MUSTER, PATIENCE, ROOT, Case, expect, need_file, need_tools
from slurm import NODES, STEP, Slurm
from test_check import findings, of_machine

LIMIT = 150


def other(t: Case, out: str, *ours: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """What is found and is not the machine's own; CPUs and tasks are the scheduler's doing."""
    known = of_machine(t) - set(ours) | {"cpus", "memory"}
    return [f for f in findings(out) if f[1] not in known]


def slurm_block(slurm: Slurm, host: int, rule: str) -> None:
    assert slurm.hosts is not None
    subprocess.run(["ip", "netns", "exec", f"{slurm.hosts.id}-h{host}", "nft",
                    "add table inet t; add chain inet t i { type filter hook input priority 0; policy accept; };"
                    f"add rule inet t i {rule}"],
                   env={**os.environ, "PATH": "/usr/sbin:/sbin:" + os.environ["PATH"]}, check=True)


def test_srun(t: Case) -> None:
    slurm = Slurm(t, hosts=True)
    step = slurm.start("srun", "srun", "-N3", "--ntasks-per-node=1", MUSTER, "check", "--json")
    step.wait(STEP)
    document = json.loads(step.out)
    expect(sorted(document["names"]) == sorted(NODES) and len(document["connections"]) == 6, step.out[:2000])
    expect(other(t, step.out) == [], f"found {other(t, step.out)}")


def test_srun_names_who_did_not_come(t: Case) -> None:
    slurm = Slurm(t, hosts=True)
    late = f'[ $SLURM_NODEID = 2 ] && exec sleep 10; exec {MUSTER} check --json --join-timeout 4s'
    step = slurm.start("srun", "srun", "-N3", "--ntasks-per-node=1", "sh", "-c", late)
    expect(step.wait(STEP) != 0, "a missing node is no error")
    got = other(t, step.out)
    expect(got == [("error", "missing", (NODES[2],))], f"found {got}")


def test_srun_names_who_is_kept_out(t: Case) -> None:
    slurm = Slurm(t, hosts=True)
    # Where the ports of jobs and of their checks are.
    slurm_block(slurm, 1, "ip saddr 10.77.0.2 tcp dport 20000-32767 ct state new reject with tcp reset")
    step = slurm.start("srun", "srun", "-N3", "--ntasks-per-node=1", MUSTER, "check", "--json",
                       "--join-timeout", "6s")
    expect(step.wait(STEP) != 0, "a missing node is no error")
    got = other(t, step.out)
    expect(got == [("error", "missing", (NODES[1],))], f"found {got}")
    expect(f"muster {NODES[1]}: error: could not reach the coordinator" in step.err, step.err)


def test_mpirun(t: Case) -> None:
    need_tools("mpirun")
    need_file(str(BUILD / "muster-mpi"))
    Hosts(t)
    run = t.spawn("mpirun", [str(ROOT / "tests/hosts/mpirun.sh"), "host1:8,host2:8,host3:8", "--map-by",
                             "ppr:1:node", MUSTER, "check", "--json"])
    run.wait(40 * PATIENCE)
    document = json.loads(run.out)
    expect(document["nodes"] == 3 and len(document["connections"]) == 6, run.out[:2000])
    expect(other(t, run.out) == [], f"found {other(t, run.out)}")


def launch(t: Case, *command: str) -> tuple[str, str, int]:
    job = t.spawn("launch", [MUSTER, *command[:1], "--launch", "ssh", "--ssh-command", fake_ssh(t), "--hostfile",
                             host_file(t, HOSTS), "--master-port", str(t.port), *command[1:]])
    status = job.wait(60 * PATIENCE)
    return job.out, job.err, status


def test_launch_ssh(t: Case) -> None:
    out, err, _ = launch(t, "check", "--json")
    expect(out.startswith("{"), out[:300] + err)
    expect(json.loads(out)["nodes"] == 3, out[:300])
    expect(other(t, out) == [], f"found {other(t, out)}")


def test_launch_ssh_checks_first(t: Case) -> None:
    out, err, status = launch(t, "run", "--check", "--nproc-per-node", "1", "--no-python", "echo", "started")
    expect(status == 0 and out.count("started") == 3, out + err)
    expect(err.count("--check: nothing speaks against the job") == 3, err)
