# SPDX-License-Identifier: Apache-2.0
"""The example scripts and manifests, as they are: what users copy has to work."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hosts import Hosts
from muster import HELLO, MUSTER, PATIENCE, ROOT, WORKER, Case, expect, need_file, need_tools
from procs import Skip, wait_for
from slurm import NODES, Slurm

LIMIT = 240
EXAMPLES = ROOT / "examples"
# In place of a fine-tuning script: saves on SIGUSR1 and ends, goes on from what was saved.
TRAINING = """
import os, signal, sys, time
rank, checkpoint = os.environ["RANK"], "checkpoint." + os.environ["RANK"]
def save(signo, frame):
    open(checkpoint, "w").write(os.environ["SLURM_JOB_ID"])
    sys.exit(0)
signal.signal(signal.SIGUSR1, save)
if os.path.exists(checkpoint):
    sys.stdout.write(f"rank {rank} of {os.environ['WORLD_SIZE']} goes on with {sys.argv[1:]}\\n")
    sys.exit(0)
open(f"started.{rank}", "w").write(os.environ["SLURMD_NODENAME"])
time.sleep(300)
"""


def with_muster(t: Case) -> None:
    """muster, and whatever Python the tests have, on the PATH, as users have them."""
    t.env["PATH"] = f"{Path(MUSTER).parent}:{t.env['PATH']}"


# The real warning, of a time limit of two minutes in place of three days.
def test_batch_script(t: Case) -> None:
    slurm = Slurm(t, hosts=True, gpus=8, cgroup=True, kill_wait=30)
    with_muster(t)
    work = t.dir / "work"
    shutil.copytree(EXAMPLES / "slurm", work)
    (work / "sft.py").write_text(TRAINING)
    job = slurm.batch(work / "sft.sbatch", f"--chdir={work}", "--cpus-per-task=1", "--time=2", "--signal=USR1@30",
                      words=["config.yaml"])
    wait_for(lambda: len(list(work.glob("started.*"))) == 24, "24 workers", 60 * PATIENCE)
    on = [(work / f"started.{rank}").read_text() for rank in range(24)]
    expect(on == [node for node in NODES for _ in range(8)], f"nodes by rank: {on}")
    slurm.wait_state(job, "PENDING", timeout=150 * PATIENCE)
    expect(len(list(work.glob("checkpoint.*"))) == 24, "not every worker has saved")
    slurm.start_again(job)
    slurm.wait_state(job, "COMPLETED")
    output = slurm.output(job).read_text()
    for rank in range(24):
        line = f"rank {rank} of 24 goes on with ['--deepspeed', 'zero3.json', '--config', 'config.yaml']"
        expect(line in output, f"not in the output: {line}")


def test_mpirun(t: Case) -> None:
    need_file(HELLO)
    need_tools("mpirun")
    with_muster(t)
    (t.dir / "nodes").write_text("localhost slots=1\n")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    job = t.spawn("mpirun", [str(EXAMPLES / "mpirun.sh"), str(t.dir / "nodes"), "--nproc-per-node", "4",
                             "--no-python", HELLO], root)
    job.expect(0, 60 * PATIENCE)
    expect(len(re.findall(r"^rank \d", job.out, re.MULTILINE)) == 4, f"not 4 workers: {job.out}")


def test_hostfile(t: Case) -> None:
    hosts = Hosts(t, 3, ("node1", "node2", "node3"))
    agents = [t.spawn(f"node{k}", [*hosts.wrapper(k), MUSTER, "run", "--hostfile", str(EXAMPLES / "hostfile"),
                                   "--no-python", WORKER]) for k in (1, 2, 3)]
    workers = t.workers(24)
    t.go()
    for agent in agents:
        agent.expect(0)
    expect([workers[rank].node for rank in (0, 8, 16)] == [0, 1, 2], "ranks are not in the order of the lines")


# ---- Kubernetes ----

def documents(path: Path) -> list[dict[str, Any]]:
    """Those of a YAML file, read by a Python that can."""
    read = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"
    for python in (os.environ.get("MUSTER_TORCH_PYTHON", ""), str(ROOT / "build/venv/bin/python"), "python3"):
        if python and shutil.which(python):
            done = subprocess.run([python, "-c", read, str(path)], capture_output=True, text=True, timeout=60,
                                  check=False)
            if done.returncode == 0:
                found: list[dict[str, Any]] = json.loads(done.stdout)
                return found
    raise Skip("no Python with yaml: scripts/venv.sh makes one")


def seconds(text: str) -> float:
    return float(text.rstrip("s"))


def test_kubernetes_manifest(t: Case) -> None:
    service, job = documents(EXAMPLES / "kubernetes/job.yaml")
    spec, name = job["spec"], job["metadata"]["name"]
    pod = spec["template"]["spec"]
    container, = pod["containers"]
    command = container["command"]
    given = dict(word.lstrip("-").split("=") for word in command if "=" in word)
    expect((service["kind"], job["kind"], spec["completionMode"]) == ("Service", "Job", "Indexed"), "kinds")
    expect(service["spec"]["clusterIP"] == "None", "the service is not headless")
    expect(service["spec"]["selector"] == {"job-name": name}, "the service is not that of the Job's pods")
    expect(pod["subdomain"] == service["metadata"]["name"], "the pods' names are not the service's")
    expect(spec["completions"] == spec["parallelism"] == int(given["nnodes"]), "numbers of nodes differ")
    expect(seconds(given["grace"]) < pod["terminationGracePeriodSeconds"], "Kubernetes kills within the grace time")
    expect({m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}, "volumes")
    run_pods(t, [f"{name}-{k}.{pod['subdomain']}.default.svc.cluster.local" for k in range(spec["completions"])],
             command)


def run_pods(t: Case, names: list[str], command: list[str]) -> None:
    """What the pods execute, on hosts with their names, but without GPUs and for another program."""
    expect(command[:2] == ["muster", "run"] and "sft.py" in command, f"command: {command}")
    options = [word for word in command[2:command.index("sft.py")] if word != "--nproc-per-node=gpu"]
    hosts = Hosts(t, len(names), names)
    pods = [t.spawn(f"pod{k}", [*hosts.wrapper(k + 1), MUSTER, "run", *options, "--nproc-per-node=8", "--no-python",
                                WORKER], {"JOB_COMPLETION_INDEX": str(k)}) for k in range(len(names))]
    workers = t.workers(8 * len(names))
    t.go()
    for pod in pods:
        pod.expect(0)
    order = [workers[8 * k].env["JOB_COMPLETION_INDEX"] for k in range(len(names))]
    expect(order == [str(k) for k in range(len(names))], f"pods in the order of the ranks: {order}")
