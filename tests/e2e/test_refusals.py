# SPDX-License-Identifier: Apache-2.0
"""Nodes that do not fit together, and endpoints that are not what they should be: a clear sentence
each, that says what, where, and what to do; and pairs that look odd and are fine."""
from __future__ import annotations

import re
import signal
import socket
import struct
import threading

from hosts import Hosts
from muster import PATIENCE, ROOT, Case, expect
from procs import Proc, wait_for
from test_torch import torch_python

LIMIT = 120
ONE = ["--nproc-per-node", "1"]
SOON = [*ONE, "--nnodes", "2", "--join-timeout", "3s"]
MAGIC, HELLO_VERSION = b"\x9dmst", 5
REFUSED = 17


def expect_sentence(agent: Proc, *patterns: str, status: int = 1, timeout: float = 20) -> None:
    """One error line, with all of this in it."""
    agent.expect(status, timeout * PATIENCE)
    errors = [line for line in agent.err.splitlines() if re.search(r"\berror: ", line)]
    expect(len(errors) == 1, f"{agent.name}: {len(errors)} errors instead of one: {errors}")
    for pattern in patterns:
        expect(re.search(pattern, errors[0]), f"{agent.name} does not say /{pattern}/: {errors[0]}")


def first_of(t: Case, nodes: int, *options: str) -> Proc:
    first = t.agent("node1", [*ONE, "--nnodes", str(nodes), *options])
    t.wait_listening(first)
    return first


def finish(t: Case, agents: list[Proc]) -> None:
    t.go()
    for agent in agents:
        agent.expect(0)


# ---- nodes that do not fit ----

def test_another_nnodes(t: Case) -> None:
    first = first_of(t, 2)
    stranger = t.agent("node2", [*ONE, "--nnodes", "3"], log_name="stranger")
    expect_sentence(stranger, rf"127\.0\.0\.1:{t.port} turned this node away", "--nnodes 3", "--nnodes 2",
                    "the same on every node")
    agents = [first, t.agent("node2", [*ONE, "--nnodes", "2"])]
    t.workers(2)
    finish(t, agents)


def test_node_rank_that_is_taken(t: Case) -> None:
    first = first_of(t, 2, "--node-rank", "0")
    stranger = t.agent("node2", [*ONE, "--nnodes", "2", "--node-rank", "0"], log_name="stranger")
    expect_sentence(stranger, "--node-rank 0 is taken by node1", rf"pid {first.pid}\b", "every node needs its own")
    agents = [first, t.agent("node2", [*ONE, "--nnodes", "2", "--node-rank", "1"])]
    t.workers(2)
    finish(t, agents)


def test_node_rank_of_a_silent_holder_is_not_refused_for_good(t: Case) -> None:
    serve = t.serve()
    options = [*ONE, "--nnodes", "2", "--node-timeout", "4s", "--join-timeout", "60s"]
    holder = t.agent("node1", [*options, "--node-rank", "0"], log_name="holder")
    wait_for(lambda: len(t.status().nodes(t.run_id)) == 1, "the holder to join", 20 * PATIENCE)
    holder.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: t.status().node("node1").get("heard_s", 0) > 1.8, "two beats to be missed", 20)
        agents = [t.agent("node1", [*options, "--node-rank", "0"])]
        serve.wait_err("--node-rank 0 is that of node1", 20 * PATIENCE)
        serve.wait_err("left while the job was forming", 20 * PATIENCE)
        agents.append(t.agent("node2", options))
        workers = t.workers(2, timeout=30)
        expect(workers[0].env["GROUP_RANK"] == "0", "the newcomer did not get the place")
        finish(t, agents)
    finally:
        holder.signal(signal.SIGKILL)
        holder.wait()


def test_another_run_id_on_an_embedded_coordinator(t: Case) -> None:
    first = first_of(t, 2)
    stranger = t.agent("node2", [*ONE, "--nnodes", "2"], run_id="another-job", log_name="stranger")
    expect_sentence(stranger, "turned this node away", "run id", "another-job", re.escape(t.run_id))
    first.wait_err("another-job", 15 * PATIENCE)  # whoever waits for this node reads why
    agents = [first, t.agent("node2", [*ONE, "--nnodes", "2"])]
    t.workers(2)
    finish(t, agents)


# ---- pairs that are fine ----

def test_different_numbers_of_workers_all_reduce(t: Case) -> None:
    """1, 2 and 3 workers on three hosts: ranks are contiguous by node, and torch agrees."""
    hosts = Hosts(t)
    python = torch_python()
    agents = []
    for k in (1, 2, 3):
        agents.append(t.agent(f"node{k}", ["--nnodes", "3", "--nproc-per-node", str(k), "--python", python],
                              [str(ROOT / "tests/compat/fault_worker.py")], plain=False,
                              endpoint=f"10.77.0.1:{t.port}", wrapper=hosts.wrapper(k)))
        if k == 1:
            t.wait_listening(agents[0])
    workers = t.workers(6, timeout=90)
    shape = [(w.node, int(w.env["LOCAL_RANK"]), int(w.env["LOCAL_WORLD_SIZE"])) for _, w in sorted(workers.items())]
    expect(shape == [(0, 0, 1), (1, 0, 2), (1, 1, 2), (2, 0, 3), (2, 1, 3), (2, 2, 3)], f"places: {shape}")
    finish(t, agents)


def test_two_agents_of_one_name(t: Case) -> None:
    first = first_of(t, 3)
    twins = [t.agent("node2", [*ONE, "--nnodes", "3"], log_name=f"twin{k}") for k in (1, 2)]
    workers = t.workers(3)
    parents = [int(workers[rank].env["ppid"]) for rank in (1, 2)]
    agents_of = [agent_of(pid) for pid in parents]
    expect(agents_of == sorted(twin.pid for twin in twins), f"ranks 1, 2 are of {agents_of}, not in the order of pids")
    finish(t, [first, *twins])


def agent_of(shepherd: int) -> int:
    with open(f"/proc/{shepherd}/stat") as f:
        return int(f.read().rpartition(")")[2].split()[1])


def test_rejoin_after_the_loss_is_known(t: Case) -> None:
    """The same host with another process, while the job forms; ranks are as if nothing had been."""
    first = first_of(t, 3)
    gone = t.agent("node2", [*ONE, "--nnodes", "3"], log_name="gone")
    wait_for(lambda: len(t.status().nodes(t.run_id)) == 2, "two nodes to join", 20 * PATIENCE)
    gone.signal(signal.SIGKILL)
    first.wait_err("left while the job was forming", 20 * PATIENCE)
    rest = [t.agent(f"node{k}", [*ONE, "--nnodes", "3"]) for k in (2, 3)]
    workers = t.workers(3)
    expect(agent_of(int(workers[1].env["ppid"])) == rest[0].pid, "rank 1 is not of the second agent of node2")
    finish(t, [first, *rest])


def test_rejoin_before_the_loss_is_known(t: Case) -> None:
    """The same host with another process while the first, which is silent, still has its place."""
    options = ["--node-timeout", "3s", "--max-restarts", "1"]
    first, gone, third = t.agents(3, 1, options)
    t.workers(3)
    gone.signal(signal.SIGSTOP)
    again = t.agent("node2", [*ONE, "--nnodes", "3", *options], log_name="again")
    again.wait_err("stands by", 20 * PATIENCE)
    workers = t.workers(3, turn=1)
    expect(agent_of(int(workers[1].env["ppid"])) == again.pid, "rank 1 is not of the second agent of node2")
    finish(t, [first, again, third])
    gone.signal(signal.SIGKILL)
    gone.wait()


# ---- another version ----

class Server:
    """A TCP server that reads and answers once, whatever it is told to."""

    def __init__(self, t: Case, answer: bytes) -> None:
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", t.port))
        t.cleanups.append(self.listener.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(10)
                peer.recv(4096)
                peer.sendall(self.answer)
                while peer.recv(4096):
                    pass


def refused(kind: int, text: str) -> bytes:
    body = struct.pack("<BBI", REFUSED, kind, len(text)) + text.encode()
    return struct.pack("<I", len(body)) + body


def test_agent_of_another_version(t: Case) -> None:
    first = first_of(t, 2)
    with socket.create_connection(("127.0.0.1", t.port)) as peer:
        peer.settimeout(10)
        peer.sendall(MAGIC + struct.pack("<HH", 1, 0))
        got = b""
        while part := peer.recv(4096):
            got += part
    size, message, kind, length = struct.unpack_from("<IBBI", got)
    text = got[10:10 + length].decode()
    expect(size + 4 == len(got) and message == REFUSED and kind == 3, f"answer: {got!r}")
    expect(re.search(r"version 1\b.*version \d+.*the same muster on every node", text), f"sentence: {text}")
    first.wait_err("turned away 127.0.0.1", 10 * PATIENCE)
    agents = [first, t.agent("node2", [*ONE, "--nnodes", "2"])]
    t.workers(2)
    finish(t, agents)


def test_coordinator_of_another_version(t: Case) -> None:
    sentence = "control protocol version 9, this is version 1: run the same muster on every node"
    Server(t, refused(0, sentence))
    expect_sentence(t.agent("node2", SOON), rf"127\.0\.0\.1:{t.port} turned this node away", sentence)


# ---- endpoints ----

def test_web_server_at_the_endpoint(t: Case) -> None:
    Server(t, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    expect_sentence(t.agent("node2", SOON), rf"127\.0\.0\.1:{t.port}", "not.*muster", "another program",
                    "--rdzv-endpoint")


def test_torch_store_at_the_endpoint(t: Case) -> None:
    server = t.spawn("store", [torch_python(), "-c", f"""
import time, torch.distributed as dist
store = dist.TCPStore("127.0.0.1", {t.port}, None, True, wait_for_workers=False)
time.sleep(600)"""])
    t.wait_listening(server, 60)
    expect_sentence(t.agent("node2", SOON), rf"127\.0\.0\.1:{t.port}", "not.*muster", "another program",
                    "--rdzv-endpoint")
    status = t.run("status", f"127.0.0.1:{t.port}")
    status.expect(3)
    expect(str(t.port) in status.err and "muster" in status.err, f"status says: {status.err}")
    server.signal(signal.SIGKILL)
    server.wait()


def test_name_that_does_not_resolve(t: Case) -> None:
    agent = t.agent("node2", SOON, endpoint="no-such-host.invalid:29500")
    expect_sentence(agent, r"no-such-host\.invalid:29500", "does not resolve", "--rdzv-endpoint")


def test_nothing_at_the_endpoint(t: Case) -> None:
    hosts = Hosts(t, 2)
    agent = t.agent("node2", SOON, endpoint=f"10.77.0.1:{t.port}", wrapper=hosts.wrapper(2))
    expect_sentence(agent, rf"10\.77\.0\.1:{t.port}", "connection refused", "nothing listens", "--rdzv-endpoint")


def test_host_without_a_route(t: Case) -> None:
    hosts = Hosts(t, 2)
    agent = t.agent("node2", SOON, endpoint="10.99.0.1:29500", wrapper=hosts.wrapper(2))
    expect_sentence(agent, r"10\.99\.0\.1:29500", "unreachable", "route", "--rdzv-endpoint")


def test_host_that_does_not_answer(t: Case) -> None:
    hosts = Hosts(t, 2)
    hosts.fault(1, "crash")
    agent = t.agent("node2", [*ONE, "--nnodes", "2", "--join-timeout", "7s"], endpoint="10.77.0.1:29500",
                    wrapper=hosts.wrapper(2))
    expect_sentence(agent, r"10\.77\.0\.1:29500", "unreachable|no answer", "--rdzv-endpoint")
