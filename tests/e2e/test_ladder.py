# SPDX-License-Identifier: Apache-2.0
"""Under a scheduler nobody names a port: who serves the coordinator, where the others find it, and
what is said of a node that does not come. Slurm's variables are set by hand."""
from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
import zlib
from typing import Iterator, Optional, Sequence

from hosts import Hosts
from muster import MUSTER, PATIENCE, Case, expect
from procs import Proc, Skip, wait_for

LIMIT = 120
NODES = ("localhost", "node2.test", "node3.test")
WHERE = ["sh", "-c", "echo rank $RANK of $WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT"]
WITHIN = 10 * PATIENCE


def slurm(t: Case, index: int, names: Sequence[str], step: int = 0) -> dict[str, str]:
    job = str(zlib.crc32(t.mark.encode()))
    return {"SLURM_JOB_ID": job, "SLURM_JOBID": job, "SLURM_STEP_ID": str(step), "SLURM_STEPID": str(step),
            "SLURM_STEP_NODELIST": ",".join(names), "SLURM_NODEID": str(index), "SLURM_PROCID": str(index),
            "SLURM_LOCALID": "0", "SLURM_NTASKS": str(len(names)), "SLURM_STEP_NUM_TASKS": str(len(names)),
            "SLURM_STEP_NUM_NODES": str(len(names)), "SLURM_NNODES": str(len(names)),
            "SLURM_STEP_TASKS_PER_NODE": f"1(x{len(names)})", "SLURMD_NODENAME": names[index]}


def agent(t: Case, index: int, options: Sequence[str] = (), names: Sequence[str] = NODES,
          program: Sequence[str] = (), wrapper: Sequence[str] = (), name: Optional[str] = None) -> Proc:
    """Slurm's task on node `index`: no endpoint, no number of nodes, no id."""
    argv = [*wrapper, MUSTER, "run", *options, "--no-python", *(program or WHERE)]
    return t.spawn(name or f"node{index}.{len(t.procs)}", argv, slurm(t, index, names))


def agents(t: Case, options: Sequence[str] = (), **keywords: object) -> list[Proc]:
    return [agent(t, index, options, **keywords) for index in range(3)]  # type: ignore[arg-type]


def port_of(job: Sequence[Proc], world: int = 3) -> int:
    """All end well, and their workers were told one and the same port."""
    for proc in job:
        proc.expect(0, 40 * PATIENCE)
    told = [re.search(r"rank \d+ of (\d+) at 127\.0\.0\.1:(\d+)", proc.out) for proc in job]
    expect(all(told), f"what workers were told: {[proc.out for proc in job]}")
    got = {(int(m.group(1)), int(m.group(2))) for m in told if m}
    expect(len(got) == 1 and next(iter(got))[0] == world, f"world size and port: {got}")
    return next(iter(got))[1]


@contextlib.contextmanager
def stranger(port: int, says: Optional[bytes] = None, hangs_up: bool = False) -> Iterator[None]:
    """Another program on the port: it says nothing, or something, or hangs up."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(64)
        held: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer = listener.accept()[0]
                    if says is not None:
                        peer.sendall(says)
                    if hangs_up:
                        peer.close()
                    else:
                        held.append(peer)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for peer in held:
                peer.close()
            thread.join()


def test_all_find_the_first_port(t: Case) -> None:
    port = port_of(agents(t))
    expect(20000 <= port < 32768, f"port {port}")
    expect(port_of(agents(t)) == port, "another port for the same job")


def test_silent_stranger(t: Case) -> None:
    port = port_of(agents(t))
    with stranger(port):
        start = time.monotonic()
        expect(port_of(agents(t)) != port, "the stranger's port")
        took = time.monotonic() - start
    expect(took < 2 + 6 * PATIENCE, f"it took {took:.1f} s")


def test_strangers_that_speak_or_hang_up(t: Case) -> None:
    first = port_of(agents(t))
    with stranger(first, says=b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"):
        second = port_of(agents(t))
        expect(second != first, "the stranger's port")
        with stranger(second, hangs_up=True):
            third = port_of(agents(t))
            expect(third not in (first, second), "a stranger's port")
            late = [agent(t, 2), agent(t, 1)]  # before there is anybody to find
            time.sleep(1)
            expect(port_of([agent(t, 0), *late]) == third, "found elsewhere")


def test_another_jobs_coordinator(t: Case) -> None:
    port = port_of(agents(t))
    other = t.spawn("serve", [MUSTER, "serve", "--listen", f"127.0.0.1:{port}", "--rdzv-id", "other"])
    wait_for(lambda: other.listens(port), "the other coordinator", 10 * PATIENCE)
    expect(port_of(agents(t)) != port, "the other job's port")
    expect("turned away" not in other.err, f"the other job's users were told of it: {other.err}")


def test_two_jobs_whose_ports_collide(t: Case) -> None:
    """All their ports are the same, and they start at the same moment, again and again."""
    for turn in range(4):
        jobs = [[agent(t, index, ["--rdzv-id", f"job{number}"], program=["sh", "-c", f"{WHERE[2]}; sleep 0.3"])
                 for index in range(3)] for number in range(2)]
        ports = [port_of(job) for job in jobs]
        expect(ports[0] != ports[1], f"turn {turn}: both jobs on port {ports[0]}")
        for job in jobs:
            expect(not any("turned away" in proc.err for proc in job), "a job's users were told of the other")


def test_two_agents_are_told_to_be_the_first(t: Case) -> None:
    names = NODES[:2]
    for _ in range(5):
        port_of([agent(t, 0, names=names, name=f"twin{len(t.procs)}") for _ in range(2)], world=2)
    port = port_of([agent(t, index, names=names) for index in range(2)], world=2)
    with stranger(port):
        twins = [agent(t, 0, names=names, name=f"twin{len(t.procs)}") for _ in range(2)]
        expect(port_of(twins, world=2) != port, "the stranger's port")


def test_stranger_has_left(t: Case) -> None:
    """The coordinator is on the second port, the first is free again: a second one must not serve there."""
    names = NODES[:2]
    port = port_of([agent(t, index, names=names) for index in range(2)], world=2)
    with stranger(port, hangs_up=True):
        first = agent(t, 0, ["--log-level", "info"], names=names, name="first")
        first.wait_err("serving the coordinator", 10 * PATIENCE)
    twin = agent(t, 0, names=names, name="twin")
    expect(port_of([first, twin], world=2) != port, "the stranger's port")


def test_others_find_it_when_a_stranger_has_left(t: Case) -> None:
    names = NODES[:2]
    port = port_of([agent(t, index, names=names) for index in range(2)], world=2)
    with stranger(port, hangs_up=True):
        first = agent(t, 0, ["--log-level", "info"], names=names, name="first")
        first.wait_err("serving the coordinator", 10 * PATIENCE)
    expect(port_of([first, agent(t, 1, names=names)], world=2) != port, "the stranger's port")


def test_every_port_is_a_strangers(t: Case) -> None:
    with contextlib.ExitStack() as strangers:
        taken = []
        for _ in range(8):
            taken.append(port_of(agents(t)))
            strangers.enter_context(stranger(taken[-1], hangs_up=True))
        expect(len(set(taken)) == 8, f"ports {taken}")
        job = agents(t, ["--join-timeout", "3s"])
        for proc in job:
            proc.expect(1, 20 * PATIENCE)
            expect(f"another job or program on ports {' '.join(map(str, taken))}" in proc.err, proc.err)


def test_restart_after_the_coordinator_is_gone(t: Case) -> None:
    """The same ids once more, while the port may still be in TIME_WAIT."""
    ports = {port_of(agents(t)) for _ in range(3)}
    expect(len(ports) == 1, f"ports {ports}")


# ---- a port that is demanded ----

def test_demanded_port_is_taken(t: Case) -> None:
    with stranger(t.port):
        run = t.run("run", "--master-port", str(t.port), "--no-python", "true")
        serve = t.run("serve", "--listen", f"127.0.0.1:{t.port}")
    for proc in (run, serve):
        expect(proc.wait() == 1, f"{proc.name} ended with {proc.wait()}")
        expect(f"port {t.port} is held by pid {os.getpid()}, `" in proc.err, proc.err)


# ---- who is missing ----

def test_missing_name_that_does_not_resolve(t: Case) -> None:
    start = time.monotonic()
    first, second = (agent(t, node, ["--join-timeout", "13s"]) for node in (0, 1))
    first.wait_err("node3.test: never seen, and the name 'node3.test' does not resolve", WITHIN)
    expect(time.monotonic() - start < WITHIN, "too late")
    expect(re.search(r"2/3 nodes joined \(localhost, node2.test\); waiting for node3.test: never seen", first.err),
           first.err)
    for proc in (first, second):
        proc.expect(1, 30 * PATIENCE)
        expect("1 missing: node3.test: never seen, and the name 'node3.test' does not resolve" in proc.err, proc.err)


def test_coordinators_name_does_not_resolve(t: Case) -> None:
    names = ("nowhere.test", "node2.test")
    proc = agent(t, 1, ["--join-timeout", "12s"], names=names)
    proc.wait_err("nowhere.test: the name 'nowhere.test' does not resolve", WITHIN)
    proc.expect(1, 30 * PATIENCE)
    expect("could not reach the coordinator within" in proc.err, proc.err)


HOSTS = ("host1", "host2", "host3")


def two_of_three(t: Case, hosts: Hosts, names: Sequence[str] = HOSTS) -> list[Proc]:
    options = ["--join-timeout", f"{int(15 * PATIENCE)}s", "--node-timeout", "30s"]
    return [agent(t, index, options, names, wrapper=hosts.wrapper(index + 1)) for index in range(2)]


def reason_is_told(job: Sequence[Proc], reason: str) -> None:
    job[0].wait_err(reason, WITHIN)
    for proc in job:
        proc.expect(1, 60 * PATIENCE)
        expect(re.search(f"did not form within .* 1 missing: {re.escape(reason)}", proc.err),
               f"{proc.name}'s last words: {proc.err}")


def test_hosts_find_each_other(t: Case) -> None:
    hosts = Hosts(t)
    job = [agent(t, index, names=HOSTS, wrapper=hosts.wrapper(index + 1)) for index in (2, 1, 0)]
    for proc in job:
        proc.expect(0)
    told = {re.sub(r"rank \d+", "", proc.out) for proc in job}
    expect(len(told) == 1 and "10.77.0.1:" in next(iter(told)), f"what workers were told: {told}")


def test_two_hosts_are_told_to_be_the_first(t: Case) -> None:
    hosts = Hosts(t, 2)
    names = HOSTS[:2]
    job = [agent(t, 0, names=names, wrapper=hosts.wrapper(k), name=f"on{k}") for k in (1, 2)]
    for proc in job:
        proc.expect(0)
        expect("of 2 at 10.77.0.1:" in proc.out, proc.out)


def with_hosts_file(t: Case, hosts: Hosts, host: int, text: str) -> list[str]:
    """Commands of that host see this /etc/hosts."""
    path = t.dir / f"hosts.{host}"
    path.write_text(f"127.0.0.1 localhost\n{text}")
    return [*hosts.wrapper(host), "sh", "-euc", 'mount --bind "$0" /etc/hosts; exec "$@"', str(path)]


def test_own_name_is_a_loopback_address(t: Case) -> None:
    """Debian's 127.0.1.1: the first node's own name does not lead to its network."""
    hosts = Hosts(t, 2)
    wrappers = [with_hosts_file(t, hosts, 1, "127.0.1.1 host1\n10.77.0.2 host2\n"), hosts.wrapper(2)]
    job = [agent(t, index, names=HOSTS[:2], wrapper=wrappers[index]) for index in range(2)]
    for proc in job:
        proc.expect(0)
    expect("at 10.77.0.1:" in job[1].out, job[1].out)


def test_name_is_known_late(t: Case) -> None:
    hosts = Hosts(t, 2)
    job = [agent(t, 1, names=HOSTS[:2], wrapper=with_hosts_file(t, hosts, 2, "10.77.0.2 host2\n"))]
    job[0].wait_err("the name 'host1' does not resolve", WITHIN)
    with open(t.dir / "hosts.2", "a", encoding="utf-8") as file:
        file.write("10.77.0.1 host1\n")
    job.append(agent(t, 0, names=HOSTS[:2], wrapper=hosts.wrapper(1)))
    for proc in job:
        proc.expect(0)


def add_v6(hosts: Hosts, count: int) -> None:
    for k in range(1, count + 1):
        done = subprocess.run(["ip", "-n", f"{hosts.id}-h{k}", "addr", "add", f"fd00:77::{k}/64", "dev", "eth0",
                               "nodad"], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Skip(f"no IPv6 here: {done.stderr.strip()}")


def test_ipv6(t: Case) -> None:
    hosts = Hosts(t, 2)
    add_v6(hosts, 2)
    names = ["fd00:77::1", "fd00:77::2"]
    job = [agent(t, index, ["--scheduler", "none", "--nnodes", "2", "--rdzv-endpoint", f"[{names[0]}]:{t.port}"],
                 HOSTS[:2], wrapper=hosts.wrapper(index + 1)) for index in range(2)]
    for proc in job:
        proc.expect(0)
        expect(f"at fd00:77::1:{t.port}" in proc.out, proc.out)


def test_one_of_two_addresses_leads_nowhere(t: Case) -> None:
    """fd00:77::99 is nobody's: what is sent there is lost, and IPv4 is tried long before that is given up."""
    hosts = Hosts(t, 2)
    add_v6(hosts, 2)
    both = "fd00:77::99 host1\n10.77.0.1 host1\n"
    wrappers = [with_hosts_file(t, hosts, k, both) for k in (1, 2)]
    first = agent(t, 0, ["--log-level", "info"], HOSTS[:2], wrapper=wrappers[0])
    first.wait_err("serving the coordinator", 10 * PATIENCE)
    start = time.monotonic()
    second = agent(t, 1, names=HOSTS[:2], wrapper=wrappers[1])
    for proc in (first, second):
        proc.expect(0)
        expect("at 10.77.0.1:" in proc.out, proc.out)
    expect(time.monotonic() - start < 2.5 * PATIENCE, f"it took {time.monotonic() - start:.1f} s")


def test_third_was_never_started(t: Case) -> None:
    hosts = Hosts(t)
    job = two_of_three(t, hosts)
    reason_is_told(job, "host3: its machine answers (10.77.0.3), but no agent has come: not started there, or it "
                        "cannot reach host1:")


def test_third_is_cut_off(t: Case) -> None:
    hosts = Hosts(t)
    hosts.fault(3, "cut")
    start = time.monotonic()
    job = two_of_three(t, hosts)
    third = agent(t, 2, ["--join-timeout", "12s"], HOSTS, wrapper=hosts.wrapper(3))
    third.wait_err("cannot reach the coordinator", WITHIN)
    expect(time.monotonic() - start < WITHIN, "the third host says it too late")
    # A neighbour that does not answer ARP is as good as not there: the system says so at about 3 s.
    wait_for(lambda: re.search(r"waiting for host3: (10\.77\.0\.3 does not answer|cannot be reached)", job[0].err),
             "the reason", WITHIN)
    for proc in (*job, third):
        proc.expect(1, 60 * PATIENCE)
    for proc in job:
        expect(re.search(r"1 missing: host3: .*(does not answer|cannot be reached)", proc.err), proc.err)
    expect(re.search(r"could not reach the coordinator .*host1.*(no answer|no route)", third.err), third.err)


def test_third_is_heard_but_not_reached(t: Case) -> None:
    hosts = Hosts(t)
    hosts.fault(3, "cut-in")
    job = two_of_three(t, hosts)
    third = agent(t, 2, ["--join-timeout", "12s"], HOSTS, wrapper=hosts.wrapper(3))
    third.wait_err("cannot reach the coordinator", WITHIN)
    wait_for(lambda: re.search(r"waiting for host3: (10\.77\.0\.3 does not answer|cannot be reached)", job[0].err),
             "the reason", WITHIN)
    for proc in (*job, third):
        proc.expect(1, 60 * PATIENCE)


def test_status_says_who_is_missing(t: Case) -> None:
    hosts = Hosts(t)
    job = two_of_three(t, hosts)
    job[0].wait_err("host3: its machine answers", WITHIN)
    found = re.search(r"it cannot reach host1:(\d+)", job[0].err)
    expect(found, job[0].err)
    status = t.status(f"10.77.0.1:{found.group(1)}", wrapper=hosts.wrapper(2)) if found else None
    missing = status.job().get("missing", []) if status else []
    expect([node["name"] for node in missing] == ["host3"] and "its machine answers" in missing[0]["why"],
           f"missing: {missing}")
    for proc in job:
        proc.expect(1, 60 * PATIENCE)
