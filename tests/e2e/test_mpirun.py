# SPDX-License-Identifier: Apache-2.0
"""Under a real mpirun: an agent on each of three hosts, and no address given."""
from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from mpi_hosts import END, MUSTER_MPI, Mpi, need_mpi
from muster import BUILD, HELLO, MUSTER, ROOT, WORKER, Case, expect, need_file
from procs import Proc, wait_for
from slurm import Slurm
from test_torch import expect_agreement, end_well, torch_python

LIMIT = 150
LIMITS = {"test_torch_agrees": 600}
MPI_ALONE = str(BUILD / "workers/mpi_alone")
TRAIN = str(ROOT / "examples/train_ddp.py")
LAUNCHERS = re.compile(r"(OMPI|PMIX|PMI|PRTE|ORTE)_")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def agent_of(pid: int) -> int:
    """The agent is the parent of the shepherd, which is the parent of the worker."""
    return parent_of(parent_of(pid))


def links_of(pid: int) -> dict[int, str]:
    return {int(fd.name): os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}


def test_24_ranks_without_an_address(t: Case) -> None:
    need_file(HELLO)
    Mpi(t).muster(program=["--no-python", HELLO]).expect(0, END)


def test_address_that_others_do_not_reach(t: Case) -> None:
    """What looks like the first host's best address, on the interface of its default route, is on a
    network of its own."""
    need_file(HELLO)
    mpi = Mpi(t)
    for words in ("link add lone0 type veth peer name lone1", "addr add 10.99.0.1/24 dev lone0",
                  "link set lone0 up", "link set lone1 up", "route replace default via 10.99.0.2"):
        subprocess.run(["ip", "-n", f"{mpi.hosts.id}-h1", *words.split()], check=True, timeout=20)
    mpi.per_node(MUSTER, "run", "--no-python", HELLO).expect(0, END)
    told = mpi.per_node(MUSTER_MPI, "exchange")
    told.expect(0, END)
    places = re.findall(r"address (\S+)", told.out.partition("end")[0])
    expect(places[0].startswith("10.77.") and places[-1] == "10.99.0.1", f"addresses: {places}")


def test_ranks_follow_those_of_mpirun(t: Case) -> None:
    need_file(HELLO)
    run = Mpi(t).per_node(MUSTER, "run", "--no-python", HELLO, slots="host3:8,host1:8,host2:8")
    run.expect(0, END)
    order = [host for _, host in sorted(re.findall(r"rank (\d)/3 on (\w+)", run.out))]
    expect(order == ["host3", "host1", "host2"], f"order of the nodes: {order}")


def test_workers_do_not_see_mpirun(t: Case) -> None:
    run = Mpi(t).muster(env={"OMP_PROC_BIND": "false"})
    workers = t.workers(24)
    for worker in workers.values():
        seen = [name for name in worker.env if LAUNCHERS.match(name)]
        expect(not seen, f"rank {worker.rank} sees {seen}")
        expect(worker.env.get("OMP_PROC_BIND") == "false", "a variable of the user's is lost")
    t.go()
    run.expect(0, END)


def test_keep_mpi_env(t: Case) -> None:
    run = Mpi(t).muster(["--keep-mpi-env"], nproc=1)
    workers = t.workers(3)
    expect(all("PMIX_RANK" in w.env and "OMPI_COMM_WORLD_RANK" in w.env for w in workers.values()),
           "--keep-mpi-env keeps nothing")
    t.go()
    run.expect(0, END)


def test_nothing_of_mpi_is_left_in_agents_and_workers(t: Case) -> None:
    before = set(os.listdir("/dev/shm"))
    run = Mpi(t).muster(nproc=2)
    workers = t.workers(6)
    agents = {agent_of(w.pid) for w in workers.values()}
    expect(len(agents) == 3, f"agents: {agents}")
    for pid in [*agents, *(w.pid for w in workers.values())]:
        maps = Path(f"/proc/{pid}/maps").read_text()
        found = re.findall(r"\S*(?:libmpi|libpmix|libopen-|/dev/shm|vader|ompi\.)\S*", maps)
        expect(not found, f"{pid} has mapped {found}")
        files = [link for link in links_of(pid).values() if re.search("ompi|pmix|shm", link)]
        expect(not files, f"{pid} has open {files}")
    for worker in workers.values():
        more = [link for fd, link in links_of(worker.pid).items() if fd > 2]
        expect(all(link.startswith(str(t.job_dir)) for link in more), f"a worker has open {more}")
    expect(set(os.listdir("/dev/shm")) <= before, "shared memory is left")
    t.go()
    run.expect(0, END)
    left = [path.name for path in t.dir.glob("*ompi*")]
    expect(not left, f"left of mpirun: {left}")
    expect("without calling" not in run.err, f"mpirun complains: {run.err}")


def test_failure_gives_mpirun_its_status(t: Case) -> None:
    run = Mpi(t).muster()
    workers = t.workers(24)
    t.tell("exit.0.11", "7")
    run.expect(7, END)
    t.wait_gone([w.pid for w in workers.values()], "all workers")
    expect("rank 11" in run.err and "status 7" in run.err, f"no report: {run.err}")


def test_killed_agent_ends_mpirun(t: Case) -> None:
    run = Mpi(t).muster()
    workers = t.workers(24)
    os.kill(agent_of(workers[23].pid), signal.SIGKILL)
    expect(run.wait(END) != 0, "mpirun exited with 0")
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_signal_to_mpirun_ends_the_job(t: Case) -> None:
    run = Mpi(t).muster()
    workers = t.workers(24)
    run.signal(signal.SIGTERM)
    expect(run.wait(END) != 0, "mpirun exited with 0")
    t.wait_gone([w.pid for w in workers.values()], "all workers")
    expect(all(signal.SIGTERM in t.signals_of(w) for w in workers.values()),
           "not every worker was told to end")


def test_interrupt_at_mpirun_ends_the_job(t: Case) -> None:
    run = Mpi(t).muster()
    workers = t.workers(24)
    run.signal(signal.SIGINT)
    expect(run.wait(END) != 0, "mpirun exited with 0")
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_forwarded_signal_leaves_the_grace_time(t: Case) -> None:
    """mpirun kills a second after SIGTERM; a signal that it only passes on leaves time to save."""
    script = (f"trap 'sleep 3; echo saved $RANK; exit 0' USR2; touch {t.job_dir}/ready.$RANK; "
              "while :; do sleep 0.1; done")
    program = ["--no-python", "sh", "-c", script]
    run = Mpi(t).muster(["--signals-to-handle", "SIGTERM,SIGUSR2"], program, nproc=1)
    wait_for(lambda: len(list(t.job_dir.glob("ready.*"))) == 3, "the workers")
    run.signal(signal.SIGUSR2)
    run.expect(128 + signal.SIGUSR2, END)
    expect(run.out.count("saved") == 3, run.out)


def test_two_at_once(t: Case) -> None:
    need_file(HELLO)
    mpi = Mpi(t)
    runs = [mpi.muster(program=["--no-python", HELLO]) for _ in range(2)]
    for run in runs:
        run.expect(0, 2 * END)
        expect(run.out.count("met all 24") == 24, f"{run.name}: {run.out}")


def test_torch_agrees(t: Case) -> None:
    need_file(TRAIN)
    python = torch_python()
    mpi = Mpi(t)
    found = end_well(lambda: [mpi.muster(["--python", python], [TRAIN, "--steps", "3"], nproc=8)])
    expect_agreement(found, 24)


def test_given_endpoint_asks_nobody(t: Case) -> None:
    need_file(HELLO)
    run = Mpi(t).muster(["--rdzv-endpoint", f"10.77.0.1:{t.port}"], ["--no-python", HELLO], nproc=2,
                        env={"MUSTER_MPI_HELPER": "/nowhere/muster-mpi"})
    run.expect(0, END)


def test_without_muster_mpi(t: Case) -> None:
    run = Mpi(t).muster(env={"MUSTER_MPI_HELPER": "/nowhere/muster-mpi"})
    run.expect(2, END)
    expect("install it beside muster" in run.err and "--rdzv-endpoint" in run.err, run.err)


def test_muster_mpi_that_fails(t: Case) -> None:
    program = t.dir / "broken-mpi"
    program.write_text("#!/bin/sh\necho no such fabric >&2\nexit 3\n")
    program.chmod(0o755)
    run = Mpi(t).muster(env={"MUSTER_MPI_HELPER": str(program)})
    run.expect(1, END)
    expect("no such fabric" in run.err and "exited with status 3" in run.err, run.err)


def test_a_rank_that_does_not_run_muster(t: Case) -> None:
    muster = [MUSTER, "run", "--join-timeout", "3s", "--no-python", WORKER]
    run = Mpi(t).mpirun("-np", "1", "-host", "host1", *muster, ":",
                        "-np", "1", "-host", "host2", "sleep", "60")
    run.expect(1, END)
    expect("have not answered within 3 s" in run.err, run.err)


def test_several_on_a_node_are_refused(t: Case) -> None:
    need_mpi()
    run = t.spawn("mpirun", ["mpirun", "--allow-run-as-root", "--host", "localhost:3", "-np", "3",
                             MUSTER, "run", "--no-python", WORKER])
    run.expect(2, END)
    expect(run.err.count("--map-by ppr:1:node") == 1, run.err)


def test_one_node(t: Case) -> None:
    need_mpi()
    need_file(HELLO)
    run = t.spawn("mpirun", ["mpirun", "--allow-run-as-root", "-np", "1", MUSTER, "run",
                             "--nproc-per-node", "2", "--no-python", HELLO],
                  {"MUSTER_MPI_HELPER": "/nowhere/muster-mpi"})
    run.expect(0, END)


def test_worker_that_is_an_mpi_program(t: Case) -> None:
    need_file(MPI_ALONE)
    run = Mpi(t).muster(program=["--no-python", MPI_ALONE], nproc=2)
    run.expect(0, END)
    said = sorted(re.findall(r"rank (\d): MPI process 0 of 1", run.out))
    expect(said == list("012345"), run.out)


def check_under_srun(t: Case, plugin: str, variable: str) -> None:
    step = Slurm(t).run("--nproc-per-node", "2", step=("-N3", "--ntasks-per-node=1", f"--mpi={plugin}"))
    workers = t.workers(6)
    for worker in workers.values():
        seen = [name for name in worker.env if LAUNCHERS.match(name)]
        expect(not seen, f"rank {worker.rank} sees {seen}")
        agent = agent_of(worker.pid)
        environ = dict(entry.partition("=")[::2] for entry in
                       Path(f"/proc/{agent}/environ").read_text().split("\0"))
        expect(variable in environ, f"srun --mpi={plugin} has not set {variable}")
        if "PMI_FD" in environ:
            fd = int(environ["PMI_FD"])
            expect(fd in links_of(agent), f"the agent has no descriptor {fd}")
            expect(fd not in links_of(worker.pid), f"rank {worker.rank} has descriptor {fd} of PMI")
    t.go()
    step.expect(0, END)


def test_srun_with_pmix(t: Case) -> None:
    check_under_srun(t, "pmix", "PMIX_RANK")


def test_srun_with_pmi2(t: Case) -> None:
    check_under_srun(t, "pmi2", "PMI_FD")
