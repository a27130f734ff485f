# SPDX-License-Identifier: Apache-2.0
"""Jobs of a real Slurm: `srun muster run program`, and what comes of it. Nobody says an address."""
from __future__ import annotations

from muster import HELLO, WORKER, Case, Worker, expect, need_file
from slurm import NODES, STEP, Slurm, muster

LIMIT = 120


def check_ranks(workers: dict[int, Worker], nodes: tuple[str, ...], per_node: int) -> None:
    got = [workers[rank].env["SLURMD_NODENAME"] for rank in sorted(workers)]
    expect(got == [node for node in nodes for _ in range(per_node)], f"nodes by rank: {got}")
    expect([w.node for _, w in sorted(workers.items())] == [r // per_node for r in range(len(workers))],
           f"node ranks: { {r: w.node for r, w in workers.items()} }")


# The least a user can write. Names do not resolve here, and all nodes are one machine.
def test_nothing_but_srun(t: Case) -> None:
    need_file(HELLO)
    slurm = Slurm(t, gpus=8)
    step = slurm.run(step=["-N3", "--ntasks-per-node=1", "--gpus-per-node=8"], program=[HELLO])
    step.expect(0, STEP)
    ranks = sorted(int(line.split()[1].split("/")[0]) for line in step.out.splitlines() if line.startswith("rank "))
    expect(ranks == list(range(24)), f"ranks that said hello: {ranks}")


def test_job_of_three_hosts(t: Case) -> None:
    slurm = Slurm(t, hosts=True, gpus=8, cgroup=True)
    step = slurm.run(step=["-N3", "--ntasks-per-node=1", "--gpus-per-node=8"])
    workers = t.workers(24)
    t.go()
    step.expect(0, STEP)
    check_ranks(workers, NODES, 8)
    first = workers[0].env
    for worker in workers.values():
        expect(worker.env["LOCAL_WORLD_SIZE"] == "8", "the number of workers is not that of the GPUs")
        expect(worker.env["TORCHELASTIC_RUN_ID"] == f"{first['SLURM_JOB_ID']}.{first['SLURM_STEP_ID']}",
               f"run id: {worker.env['TORCHELASTIC_RUN_ID']}")
        expect(worker.env["MASTER_ADDR"] in ("10.77.0.1", NODES[0]), f"address: {worker.env['MASTER_ADDR']}")
        expect(worker.env["MASTER_PORT"] == first["MASTER_PORT"] != "29500", "not one port of the job's own")


# Slurm's order of nodes is not always that of their names; --distribution numbers tasks otherwise.
def test_order_of_nodes_is_slurms(t: Case) -> None:
    nodes = ("zeta-2", "alpha-10", "alpha-9", "Beta1")
    slurm = Slurm(t, hosts=True, nodes=nodes)
    hostfile = t.dir / "hostfile"
    hostfile.write_text("\n".join((*nodes, "")))
    step = slurm.run("--nproc-per-node", "2", step=["-N4", "-n4", "--distribution=arbitrary"],
                     env={"SLURM_HOSTFILE": str(hostfile)})
    workers = t.workers(8)
    t.go()
    step.expect(0, STEP)
    order = slurm.command("scontrol", "show", "hostnames", workers[0].env["SLURM_STEP_NODELIST"]).split()
    expect(sorted(order) == sorted(nodes), f"nodes of the step: {order}")
    check_ranks(workers, tuple(order), 2)
    expect([workers[rank].env["SLURM_NODEID"] for rank in (0, 2, 4, 6)] == ["0", "1", "2", "3"], "not Slurm's ids")


def test_part_of_an_allocation(t: Case) -> None:
    slurm = Slurm(t, hosts=True)
    batch = slurm.script('srun -N2 -n2 --nodelist=osk-gpu56,osk-gpu91 "$@"')
    job = slurm.batch(batch, "-N3", "--ntasks-per-node=1", words=muster("--nproc-per-node", "2"))
    workers = t.workers(4, timeout=STEP)
    t.go()
    slurm.wait_state(job, "COMPLETED")
    check_ranks(workers, NODES[1:], 2)


def test_failure_gives_srun_its_status(t: Case) -> None:
    slurm = Slurm(t, hosts=True, cgroup=True)
    step = slurm.run("--nproc-per-node", "8", step=["-N3", "--ntasks-per-node=1", "--kill-on-bad-exit=1"])
    workers = t.workers(24)
    t.tell("exit.0.11", "7")
    step.expect(7, STEP)
    t.wait_gone([w.pid for w in workers.values()], "all workers")
    expect(step.err.count("failed: rank 11 on osk-gpu56") == 3, "the culprit is not named by all nodes")
    expect(step.err.count("every worker of the job was stopped; exit status 7") == 1, "not one report")


def test_scancel_ends_everything(t: Case) -> None:
    slurm = Slurm(t, cgroup=True)
    step = slurm.run("--nproc-per-node", "8", "--grace", "5s", program=[WORKER, "--grandchild"])
    workers = t.workers(24)
    children = [t.grandchild_of(w) for w in workers.values()]
    slurm.command("scancel", workers[0].env["SLURM_JOB_ID"])
    expect(step.wait(STEP) != 0, "srun exited with 0 after scancel")
    t.wait_gone([w.pid for w in workers.values()] + children, "all workers and their children")
    slurm.wait_out()
    signals = {rank: t.signals_of(w) for rank, w in workers.items()}
    expect(all(s == [15] for s in signals.values()), f"signals of the workers: {signals}")
