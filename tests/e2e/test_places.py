# SPDX-License-Identifier: Apache-2.0
"""Nodes that find each other by a host file or by Kubernetes' names, on hosts with a network each."""
from __future__ import annotations

from typing import Sequence

from hosts import Hosts
from muster import MUSTER, PATIENCE, WORKER, Case, expect
from procs import Proc

ADDRESSES = [f"10.77.0.{k}" for k in (1, 2, 3)]


def start(t: Case, hosts: Hosts, host: int, options: Sequence[str], wrapper: Sequence[str] = ()) -> Proc:
    return t.spawn(f"agent{len(t.procs)}", [*hosts.wrapper(host), *wrapper, MUSTER, "run", *options,
                                            "--no-python", WORKER])


def host_file(t: Case, lines: Sequence[str]) -> list[str]:
    path = t.dir / "hosts"
    path.write_text("".join(f"{line}\n" for line in lines))
    return ["--hostfile", str(path)]


def test_a_host_file_is_all_that_is_needed(t: Case) -> None:
    """The same command on every host: its place and its size follow from the file."""
    hosts = Hosts(t)
    sizes = {0: 2, 1: 3, 2: 1}
    order = [2, 0, 1]  # the file's: host 3 is the first
    options = host_file(t, [f"{ADDRESSES[order[n]]} slots={sizes[n]}" for n in range(3)])
    agents = [start(t, hosts, k, options) for k in (1, 2, 3)]
    workers = t.workers(6)
    expect([workers[r].node for r in range(6)] == [0, 0, 1, 1, 1, 2],
           f"nodes {[workers[r].node for r in range(6)]}")
    expect(workers[0].env["MASTER_ADDR"] == ADDRESSES[2], workers[0].env["MASTER_ADDR"])
    expect(all(w.env["MASTER_PORT"] == "29500" for w in workers.values()), "not port 29500")
    t.go()
    for agent in agents:
        agent.expect(0, 20 * PATIENCE)


def test_a_host_that_is_not_in_the_file(t: Case) -> None:
    hosts = Hosts(t)
    agent = start(t, hosts, 3, host_file(t, ADDRESSES[:2]))
    agent.expect(2, 20 * PATIENCE)
    expect("none of its 2 hosts has an address of this machine" in agent.err, agent.err)


def test_the_port_of_the_command_line_wins(t: Case) -> None:
    hosts = Hosts(t)
    options = [*host_file(t, ADDRESSES[:2]), "--master-port", "23456"]
    agents = [start(t, hosts, k, options) for k in (1, 2)]
    workers = t.workers(2)
    expect(all(w.env["MASTER_PORT"] == "23456" for w in workers.values()), "another port")
    t.go()
    for agent in agents:
        agent.expect(0, 20 * PATIENCE)


def pod(t: Case, hosts: Hosts, index: int, options: Sequence[str]) -> Proc:
    """Pod `index` of an Indexed Job: its host name, and the /etc/hosts that the kubelet writes. The
    line of pod 0 stands for the cluster's DNS."""
    table = t.dir / f"hosts{index}"
    table.write_text("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n" + "".join(
        f"{ADDRESSES[i]}\ttrain-{i}.mesh.ml.svc.cluster.local\ttrain-{i}\n" for i in {0, index}))
    script = ('echo "$1" >/proc/sys/kernel/hostname && mount --bind "$2" /etc/hosts && '
              'export JOB_COMPLETION_INDEX="$3" KUBERNETES_SERVICE_HOST=10.96.0.1 && shift 3 && exec "$@"')
    return start(t, hosts, index + 1, options,
                 ["unshare", "--uts", "--mount", "sh", "-c", script, "sh", f"train-{index}", str(table),
                  str(index)])


def test_an_indexed_job(t: Case) -> None:
    hosts = Hosts(t)
    agents = [pod(t, hosts, i, ["--nnodes", "3", "--nproc-per-node", "2"]) for i in (2, 1, 0)]
    workers = t.workers(6)
    expect([workers[r].node for r in range(6)] == [0, 0, 1, 1, 2, 2],
           f"nodes {[workers[r].node for r in range(6)]}")
    expect(all(w.env["TORCHELASTIC_RUN_ID"] == "train.mesh.ml" for w in workers.values()),
           workers[0].env["TORCHELASTIC_RUN_ID"])
    t.go()
    for agent in agents:
        agent.expect(0, 20 * PATIENCE)


def test_a_pod_comes_back_to_its_place(t: Case) -> None:
    hosts = Hosts(t)
    options = ["--nnodes", "3", "--max-restarts", "1"]
    agents = [pod(t, hosts, i, options) for i in (0, 1, 2)]
    first = t.workers(3)
    expect([first[r].node for r in range(3)] == [0, 1, 2], "another order")
    agents[1].signal(9)
    agents[1].wait()
    again = pod(t, hosts, 1, options)
    second = t.workers(3, turn=1)
    expect([second[r].node for r in range(3)] == [0, 1, 2], "another order after the restart")
    t.go()
    for agent in (agents[0], again, agents[2]):
        agent.expect(0, 20 * PATIENCE)


def test_an_indexed_job_must_say_its_size(t: Case) -> None:
    hosts = Hosts(t, 1)
    agent = pod(t, hosts, 0, [])
    agent.expect(2, 20 * PATIENCE)
    expect("give --nnodes N, the `completions` of the Job" in agent.err, agent.err)
