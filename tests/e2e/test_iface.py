# SPDX-License-Identifier: Apache-2.0
"""Which address and which interface workers get, on hosts that are on two networks."""
from __future__ import annotations

import errno
import signal
import subprocess
import sys
from typing import Optional, Sequence

from hosts import Hosts
from muster import MUSTER, WORKER, Case, Worker, expect
from procs import Proc, wait_for
from test_torch import end_well, torch_python

LIMIT = 120
VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
UNREACHABLE = "the coordinator cannot be reached at 10.78.0.1:"

# An interface's traffic is counted by the kernel: 16 MB each way are not noise.
ALL_REDUCE = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.full((1 << 20,), dist.get_rank() + 1.0)
for _ in range(4):
    y = x.clone()
    dist.all_reduce(y)
print(f"sum {y[0].item():.0f} at {os.environ['MASTER_ADDR']}\\n", end="", flush=True)
dist.destroy_process_group()
"""


class Job:
    """A job with an agent, and by default one worker, on each of a few hosts."""

    def __init__(self, t: Case, count: int = 3) -> None:
        self.t = t
        self.hosts = Hosts(t, count)

    def on(self, host: int, *words: str) -> str:
        done = subprocess.run([*self.hosts.wrapper(host), *words], env=self.hosts.env, capture_output=True,
                              text=True, timeout=60, check=False)
        expect(done.returncode == 0, f"{words} on host {host}: {done.stderr}")
        return done.stdout

    def start(self, options: Sequence[Sequence[str]] = (), endpoint: str = "host1",
              env: Optional[dict[str, str]] = None, wrapper: Sequence[str] = (),
              program: Sequence[str] = (WORKER,), plain: bool = True, name: str = "node") -> list[Proc]:
        """`options`: of host 1, 2, ...; those that are not there have none."""
        agents = []
        for k in range(1, self.hosts.count + 1):
            own = options[k - 1] if k <= len(options) else ()
            agents.append(self.t.agent(
                f"node{k}", ["--nnodes", str(self.hosts.count), "--nproc-per-node", "1", "--join-timeout",
                             "40s", *own], program, endpoint=f"{endpoint}:{self.t.port}", env=env,
                plain=plain, wrapper=[*self.hosts.wrapper(k), *wrapper], log_name=f"{name}{k}"))
            if k == 1:
                self.t.wait_listening(agents[0])
        return agents

    def run(self, options: Sequence[Sequence[str]] = (), **keywords: object) -> tuple[list[Proc], dict[int, Worker]]:
        """The job to its end: its agents, and its workers by rank, which are in the hosts' order."""
        agents = self.start(options, **keywords)  # type: ignore[arg-type]
        workers = self.t.workers(self.hosts.count)
        self.t.go()
        for agent in agents:
            agent.expect(0)
        return agents, workers


def expect_net(workers: dict[int, Worker], address: object, interface: object) -> None:
    """The address and the interface of all, or lists of them by rank."""
    for rank, w in workers.items():
        want = address[rank] if isinstance(address, list) else address
        expect(w.env["MASTER_ADDR"] == want, f"rank {rank}: MASTER_ADDR={w.env['MASTER_ADDR']}, not {want}")
        want = interface[rank] if isinstance(interface, list) else interface
        got = [w.env.get(name) for name in VARIABLES]
        expect(got == [want] * len(VARIABLES), f"rank {rank}: {VARIABLES} are {got}, not {want}")


# ---- without an option ----

def test_interface_that_reaches_the_coordinator(t: Case) -> None:
    agents, workers = Job(t).run()
    expect_net(workers, "10.77.0.1", "eth0")
    expect(not any("warn" in agent.err for agent in agents), f"warnings: {[a.err for a in agents]}")


def test_second_network_by_the_endpoint(t: Case) -> None:
    _, workers = Job(t, 2).run(endpoint="10.78.0.1")
    expect_net(workers, "10.78.0.1", "eth1")


def test_own_name_means_loopback(t: Case) -> None:
    """Debian's 127.0.1.1: rank 0 gets the address by which the others came."""
    job = Job(t)
    hosts = t.dir / "hosts"
    hosts.write_text("127.0.1.1 host1\n")
    wrapper = t.dir / "wrapper"
    wrapper.write_text(f"#!/bin/sh\n[ $(hostname) != host1 ] || mount --bind {hosts} /etc/hosts\nexec \"$@\"\n")
    wrapper.chmod(0o755)
    _, workers = job.run(wrapper=[str(wrapper)])
    expect_net(workers, "10.77.0.1", "eth0")


def test_what_is_set_is_kept(t: Case) -> None:
    _, workers = Job(t, 2).run(env={"GLOO_SOCKET_IFNAME": "eth1", "TP_SOCKET_IFNAME": ""})
    for rank, w in workers.items():
        got = [w.env.get(name) for name in VARIABLES]
        expect(got == ["eth1", "eth0", ""], f"rank {rank}: {VARIABLES} are {got}")


def test_name_that_begins_another(t: Case) -> None:
    job = Job(t, 2)
    job.on(2, "ip", "link", "add", "eth0.5", "type", "veth", "peer", "name", "other")
    _, workers = job.run()
    expect(workers[0].env["NCCL_SOCKET_IFNAME"] == "eth0", "eth0 is no beginning on host 1")
    expect(workers[1].env["NCCL_SOCKET_IFNAME"] == "=eth0", "NCCL would take eth0.5 on host 2, too")
    expect(workers[1].env["GLOO_SOCKET_IFNAME"] == "eth0", "gloo takes nothing but a name")


def test_nothing_on_one_machine(t: Case) -> None:
    agents = t.agents(2, 1)
    workers = t.workers(2)
    t.go()
    for agent in agents:
        agent.expect(0)
    expect_net(workers, "127.0.0.1", None)


def test_nothing_on_one_node(t: Case) -> None:
    _, workers = Job(t, 1).run([["--iface", "eth1"]])
    expect_net(workers, "10.77.0.1", None)


# ---- --iface, --cidr ----

def test_iface(t: Case) -> None:
    _, workers = Job(t).run([["--iface", "eth1"]] * 3)
    expect_net(workers, "10.78.0.1", "eth1")


def test_interface_of_the_endpoint(t: Case) -> None:
    """Nothing new, then: nor does the coordinator listen anywhere else."""
    job = Job(t, 2)
    agents = job.start([["--iface", "eth0"]] * 2)
    workers = t.workers(2)
    connect = "import socket, sys; print(socket.socket().connect_ex((sys.argv[1], int(sys.argv[2]))))"
    codes = [int(job.on(2, sys.executable, "-c", connect, address, str(t.port)))
             for address in ("10.77.0.1", "10.78.0.1")]
    expect(codes == [0, errno.ECONNREFUSED], f"connecting to both addresses: {codes}")
    t.go()
    for agent in agents:
        agent.expect(0)
    expect_net(workers, "10.77.0.1", "eth0")


def test_coordinators_node_alone_names_a_network(t: Case) -> None:
    _, workers = Job(t).run([["--cidr", "10.9.0.0/16,10.78.0.0/16"]])
    expect_net(workers, "10.78.0.1", "eth1")


def test_another_node_alone_names_an_interface(t: Case) -> None:
    _, workers = Job(t).run([[], ["--iface", "ib0,eth1"]])
    expect_net(workers, "10.77.0.1", ["eth0", "eth1", "eth0"])


def test_names_differ_by_node(t: Case) -> None:
    job = Job(t)
    job.on(2, "ip", "link", "set", "eth1", "down")
    job.on(2, "ip", "link", "set", "eth1", "name", "ibs3")
    job.on(2, "ip", "link", "set", "ibs3", "up")
    _, workers = job.run([["--iface", "eth1"], ["--iface", "ibs3"], ["--cidr", "10.78.0.0/16"]])
    expect_net(workers, "10.78.0.1", ["eth1", "ibs3", "eth1"])


def test_second_network_is_cut(t: Case) -> None:
    job = Job(t)
    job.hosts.fault(3, "cut2")
    agents, workers = job.run([["--iface", "eth1"]])
    expect_net(workers, ["10.78.0.1", "10.78.0.1", "10.77.0.1"], ["eth1", "eth1", "eth0"])
    expect(f"from node3 {UNREACHABLE}{t.port} (no answer within 2 s)" in agents[2].err, agents[2].err)
    expect(UNREACHABLE not in agents[0].err + agents[1].err, "warnings of nodes that reach it")


def test_no_second_network(t: Case) -> None:
    job = Job(t, 2)
    job.on(2, "ip", "addr", "del", "10.78.0.2/24", "dev", "eth1")
    agents, workers = job.run([["--iface", "eth1"]])
    expect_net(workers, ["10.78.0.1", "10.77.0.1"], ["eth1", "eth0"])
    expect(f"from node2 {UNREACHABLE}{t.port} (network is unreachable)" in agents[1].err, agents[1].err)


def test_address_means_another_machine(t: Case) -> None:
    """As 172.17.0.1 is every node's own where containers are run."""
    job = Job(t, 2)
    job.on(2, "ip", "addr", "add", "10.78.0.1/32", "dev", "lo")
    agents, workers = job.run([["--iface", "eth1"]])
    expect_net(workers, ["10.78.0.1", "10.77.0.1"], ["eth1", "eth0"])
    expect(f"from node2 {UNREACHABLE}{t.port} (connection refused)" in agents[1].err, agents[1].err)


def test_stop_while_the_address_is_tried(t: Case) -> None:
    """Node 3 is the last to join, so the others run while it waits for an answer."""
    job = Job(t)
    job.hosts.fault(3, "cut2")
    agents = job.start([["--iface", "eth1"]])
    wait_for(lambda: len(t.worker_files(0)) >= 2, "the workers of the other nodes")
    agents[0].signal(signal.SIGTERM)
    for agent in agents:
        agent.expect(143)
    expect(len(t.worker_files(0)) == 2, "node 3 started a worker of a job that was being stopped")


def test_wrong_names(t: Case) -> None:
    job = Job(t, 2)
    job.on(2, "ip", "link", "set", "eth1", "down")
    has = "this node has lo (127.0.0.1, ::1), eth0 (10.77.0.2, fd77::2), eth1 (10.78.0.2)"
    cases = [
        (["--iface", "ib0"], f"--iface ib0: no such interface here; {has}"),
        (["--iface", "eth1"], f"--iface eth1: it is down; {has}"),
        (["--cidr", "10.9.0.0/16"], f"--cidr 10.9.0.0/16: no interface has an address there; {has}"),
        (["--cidr", "10.78.0.0/16"], f"--cidr 10.78.0.0/16: eth1 has an address there, but is down; {has}"),
        (["--cidr", "10.78.0.2"], "--cidr: '10.78.0.2' is not a network: ADDRESS/BITS"),
        (["--iface", "eth0", "--cidr", "10.77.0.0/16"], "are two ways to say the same; give one of them"),
    ]
    for number, (options, sentence) in enumerate(cases):
        for more in ([], ["--dry-run"]):
            agent = t.agent("node2", ["--nnodes", "2", *options, *more], endpoint=f"host1:{t.port}",
                            wrapper=job.hosts.wrapper(2), log_name=f"wrong{number}{len(more)}")
            agent.expect(2)
            expect(sentence in agent.err, f"{options}: {agent.err}")


def test_dry_run_shows_them(t: Case) -> None:
    shown = Job(t, 1).on(1, MUSTER, "run", "--nnodes", "2", "--rdzv-endpoint", "host1", "--iface", "eth1",
                         "--dry-run", "--no-python", WORKER)
    expect(all(f"    {name}=eth1\n" in shown for name in VARIABLES), shown)


# ---- IPv6 ----

def test_v6_endpoint(t: Case) -> None:
    _, workers = Job(t, 2).run(endpoint="[fd77::1]")
    expect_net(workers, "fd77::1", "eth0")
    expect(all(w.env["MASTER_PORT"] == str(t.port) for w in workers.values()), "MASTER_PORT")


def test_name_with_a_v6_address_alone(t: Case) -> None:
    _, workers = Job(t, 2).run(endpoint="host1-v6")
    expect_net(workers, "fd77::1", "eth0")


def test_v4_in_the_clothes_of_v6(t: Case) -> None:
    _, workers = Job(t, 2).run(endpoint="[::ffff:10.77.0.1]")
    expect_net(workers, "10.77.0.1", "eth0")


def test_v6_endpoint_and_a_v4_network(t: Case) -> None:
    _, workers = Job(t, 2).run([["--iface", "eth1"]], endpoint="[fd77::1]")
    expect_net(workers, "10.78.0.1", "eth1")


# ---- real torch ----

def train(job: Job, options: Sequence[Sequence[str]], **keywords: object) -> list[Proc]:
    script = job.t.dir / "all_reduce.py"
    script.write_text(ALL_REDUCE)
    python = ["--python", torch_python()]
    own = [[*python, *options[k]] if k < len(options) else python for k in range(job.hosts.count)]
    return end_well(lambda: job.start(own, program=[str(script)], plain=False, **keywords))  # type: ignore[arg-type]


def sent(job: Job, host: int, interface: str) -> int:
    return int(job.on(host, "cat", f"/sys/class/net/{interface}/statistics/tx_bytes"))


def test_torch_uses_the_second_network(t: Case) -> None:
    job = Job(t, 2)
    agents = train(job, [["--iface", "eth1"]])
    expect(all("sum 3 at 10.78.0.1\n" in agent.out for agent in agents), f"{[a.out for a in agents]}")
    for host in (1, 2):
        first, second = sent(job, host, "eth0"), sent(job, host, "eth1")
        expect(second > 8e6 > 1e6 > first, f"host {host} sent {first} bytes on eth0, {second} on eth1")


def test_torch_with_v6_alone(t: Case) -> None:
    job = Job(t, 2)
    for host in (1, 2):
        job.on(host, "ip", "-4", "addr", "flush", "dev", "eth0")
        job.on(host, "ip", "-4", "addr", "flush", "dev", "eth1")
    agents = train(job, [], endpoint="host1-v6")
    expect(all("sum 3 at fd77::1\n" in agent.out for agent in agents), f"{[a.out for a in agents]}")
