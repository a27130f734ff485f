# SPDX-License-Identifier: Apache-2.0
"""Which store a c10d client gets: its job's, its round's, or the shared one of the port."""
from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Sequence

from c10d import Client, Closed
from muster import HELLO, PATIENCE, Case, expect, need_file, need_root, need_tools
from procs import Failure, Proc, wait_for
from test_torch import torch_python

LIMIT = 180
PYTHON = sys.executable
WORKER = str(Path(__file__).with_name("c10d.py"))
RANKS = 4


def worker(t: Case, label: str, *options: str) -> list[str]:
    return [PYTHON, WORKER, *options, str(t.job_dir), label]


def start(t: Case, label: str, program: Sequence[str], options: Sequence[str] = (), nodes: int = 2,
          nproc: int = 2) -> list[Proc]:
    """The agents of job `label`."""
    sizes = ["--nnodes", str(nodes), "--nproc-per-node", str(nproc), *options]
    return [t.agent(f"node{k}", sizes, program, run_id=label, log_name=f"{label}-{k}")
            for k in range(1, nodes + 1)]


def results(t: Case, label: str, count: int = RANKS, restart: int = 0) -> list[dict[str, Any]]:
    """What the workers of a job found, once all have written it."""
    def all_there() -> list[Path]:
        found = sorted(t.job_dir.glob(f"{label}.{restart}.*.json"))
        if len(found) < count and not any(proc.is_running() for proc in t.procs):
            raise Failure("everything ended before")
        return found if len(found) == count else []
    files = wait_for(all_there, f"{count} workers of {label} to meet", 60 * PATIENCE)
    return [json.loads(path.read_text()) for path in files]


def end(t: Case, label: str, agents: Sequence[Proc], status: int = 0, restart: int = 0) -> None:
    t.tell(f"{label}.{restart}.go", str(status))
    for agent in agents:
        agent.expect(status)


def plain(t: Case, pid: int | None = -1) -> Client:
    """A client that is no part of any job: this test itself."""
    client = Client("127.0.0.1", t.port, os.getpid() if pid == -1 else pid, 30 * PATIENCE)
    if pid is not None:
        client.pong()
    return client


OWN_KEYS = sorted(["same", "arrived", *(f"rank{k}" for k in range(RANKS))])


def expect_apart(t: Case, labels: Sequence[str]) -> None:
    """Every worker has met those of its own job, and nobody else."""
    for label in labels:
        for told in results(t, label):
            expect(told["same"] == label, f"a worker of {label} reads {told['same']!r}")
            expect(told["keys"] == OWN_KEYS, f"a worker of {label} sees {told['keys']}")
            expect(told["arrived"] == RANKS, f"{told['arrived']} came to {label}")
    status = t.status()
    for label in labels:
        store = status.job(label)["store"]
        expect((store["keys"], store["clients"]) == (len(OWN_KEYS), RANKS), f"{label}: {store}")
    expect(status.data["port"]["held_clients"] == 0, f"{status.data['port']['held_clients']} clients are held")


def shared(t: Case) -> dict[str, int]:
    return t.status().data["shared_store"]


def expect_plain_is_apart(t: Case, pid: int | None = -1) -> None:
    client = plain(t, pid)
    before = client.keys()
    expect("same" not in before, f"a plain client sees {before}")
    client.set("same", b"plain")
    expect(client.get("same") == b"plain", "a plain client does not read what it wrote")
    expect(shared(t)["clients"] == 1, f"shared store: {shared(t)}")
    client.conn.close()


def two_jobs(t: Case, program_a: Sequence[str], program_b: Sequence[str]) -> None:
    t.serve()
    agents = {"a": start(t, "a", program_a), "b": start(t, "b", program_b)}
    expect_apart(t, ["a", "b"])
    expect_plain_is_apart(t)
    expect_apart(t, ["a", "b"])
    for label in agents:
        end(t, label, agents[label])


# ---- two jobs on one machine ----

def test_two_jobs_and_a_plain_client(t: Case) -> None:
    two_jobs(t, worker(t, "a"), worker(t, "b"))


def test_workers_behind_a_shell(t: Case) -> None:
    wrapped = ["bash", "-c", '"$@"; exit $?', "bash"]
    two_jobs(t, [*wrapped, *worker(t, "a")], [*wrapped, *worker(t, "b")])


def test_workers_that_became_daemons(t: Case) -> None:
    two_jobs(t, worker(t, "a", "--daemon"), worker(t, "b", "--daemon"))


def test_workers_without_ping(t: Case) -> None:
    two_jobs(t, worker(t, "a", "--no-ping"), worker(t, "b", "--no-ping"))


def test_workers_in_pid_namespaces(t: Case) -> None:
    """Each calls itself 1."""
    need_root()
    need_tools("unshare")
    inside = ["unshare", "--pid", "--fork", "--kill-child"]
    t.serve()
    agents = {label: start(t, label, [*inside, *worker(t, label)]) for label in ("a", "b")}
    expect_apart(t, ["a", "b"])
    expect(all(told["pid"] == 1 for told in results(t, "a")), "not in a namespace of its own")
    expect_plain_is_apart(t, 1)
    for label in agents:
        end(t, label, agents[label])


def test_jobs_that_start_and_meet_at_once(t: Case) -> None:
    """C workers connect before their agent could say who they are."""
    need_file(HELLO)
    t.serve()
    agents = [agent for k in range(4) for agent in start(t, f"j{k}", [HELLO], nodes=3, nproc=8)]
    for agent in agents:
        agent.expect(0)
    expect(shared(t)["queries"] == 0, f"a worker got the shared store: {shared(t)}")


TORCH_WORKER = """
import os, sys, time
from torch.distributed import TCPStore
results, label = sys.argv[1:]
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
                 wait_for_workers=False)
store.set(f"rank{rank}", label)
got = {store.get(f"rank{k}").decode() for k in range(world)}
keys = store.num_keys()
assert got == {label} and keys <= world, (label, got, keys)
with open(f"{results}/{label}.0.{rank}.json", "x") as f:
    f.write("{}")
while not os.path.exists(f"{results}/{label}.0.go"):
    time.sleep(0.02)
"""


def test_torch_in_two_jobs(t: Case) -> None:
    python = torch_python()
    (t.dir / "worker.py").write_text(TORCH_WORKER)
    t.serve()
    agents = {label: start(t, label, [python, "worker.py", str(t.job_dir), label])
              for label in ("a", "b")}
    for label in agents:
        results(t, label)
    program = ("import sys\nfrom torch.distributed import TCPStore\n"
               "s = TCPStore('127.0.0.1', int(sys.argv[1]), is_master=False, wait_for_workers=False)\n"
               "assert s.num_keys() == 0, s.num_keys()\ns.set('rank0', 'plain')\n"
               "assert s.get('rank0') == b'plain'\n")
    t.spawn("plain", [python, "-c", program, str(t.port)]).expect(0, 60 * PATIENCE)
    expect(shared(t)["keys"] == 1, f"shared store: {shared(t)}")
    for label in agents:
        end(t, label, agents[label])


# ---- plain clients ----

def test_plain_clients_share_a_store(t: Case) -> None:
    t.serve()
    early = plain(t)
    agents = start(t, "a", worker(t, "a"))
    results(t, "a")
    late = [plain(t), plain(t, None)]
    for k, client in enumerate(late):
        early.set(f"word{k}", b"hello")
        client.wait(f"word{k}")
    expect(shared(t) == {**shared(t), "keys": 2, "clients": 3}, f"shared store: {shared(t)}")
    expect_apart(t, ["a"])
    end(t, "a", agents)
    early.set("still", b"there")
    expect(early.get("still") == b"there", "a job's end closed a plain client")


def test_plain_client_that_says_nothing_more(t: Case) -> None:
    """As torch before 2.5, made and not used: VALIDATE, and then for a while nothing."""
    t.serve()
    agents = start(t, "a", worker(t, "a"))
    results(t, "a")
    client = plain(t, None)
    wait_for(lambda: t.status().data["port"]["held_clients"] == 0 and shared(t)["clients"] == 1,
             "the client to be let in", 10 * PATIENCE)
    client.set("same", b"plain")
    expect(client.keys() == ["same"], f"it sees {client.keys()}")
    end(t, "a", agents)


def test_plain_client_that_sends_much_at_once(t: Case) -> None:
    t.serve()
    agents = start(t, "a", worker(t, "a"))
    results(t, "a")
    client = plain(t)
    client.set("big", b"x" * 3000000)
    expect(len(client.get("big")) == 3000000, "it was cut")
    end(t, "a", agents)


# ---- rounds ----

class Receiver:
    """Takes connections that workers hand over, to see what becomes of them."""

    def __init__(self, t: Case, label: str) -> None:
        # A path of the test's directory may be too long for a socket.
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(30 * PATIENCE)
        here = os.getcwd()
        os.chdir(t.job_dir)
        self.listener.bind(f"{label}.sock")
        os.chdir(here)
        self.listener.listen(8)

    def take(self) -> socket.socket:
        with self.listener.accept()[0] as peer:
            _, fds, _, _ = socket.recv_fds(peer, 1, 1)
        conn = socket.socket(fileno=fds[0])
        conn.settimeout(30 * PATIENCE)
        return conn


def expect_closed(conn: socket.socket, what: str) -> None:
    try:
        expect(conn.recv(1) == b"", f"{what} is answered")
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise Failure(f"{what} is still connected") from None


def restarts(t: Case, agents: list[Proc]) -> None:
    """Rank 0 of 1 fails; the next round finds an empty store, the old connection is closed."""
    receiver = t.receiver  # type: ignore[attr-defined]
    first = receiver.take()
    expect(results(t, "a", 1)[0]["found"] == [], f"round 1 finds {results(t, 'a', 1)}")
    t.tell("a.0.go", "3")
    second = receiver.take()
    told = results(t, "a", 1, restart=1)[0]
    expect(told["found"] == [], f"round 2 finds {told['found']}")
    expect(told["arrived"] == 1, f"{told['arrived']} came to round 2")
    expect_closed(first, "the client of the ended round")
    expect(t.status().job("a")["store"]["clients"] == 1, f"{t.status().job('a')['store']}")
    end(t, "a", agents, restart=1)
    expect_closed(second, "the client of the last round")


def test_rounds_on_a_coordinator_of_its_own(t: Case) -> None:
    t.serve()
    t.receiver = Receiver(t, "a")  # type: ignore[attr-defined]
    restarts(t, start(t, "a", worker(t, "a"), ["--max-restarts", "1"], 1, 1))
    store = t.status().job("a")["store"]
    expect(store["clients"] == 0 and store["keys"] == 3, f"the last round's store: {store}")


def test_rounds_on_an_embedded_coordinator(t: Case) -> None:
    t.receiver = Receiver(t, "a")  # type: ignore[attr-defined]
    restarts(t, start(t, "a", worker(t, "a"), ["--max-restarts", "1"], 1, 1))


def test_rounds_behind_a_shell(t: Case) -> None:
    t.serve()
    t.receiver = Receiver(t, "a")  # type: ignore[attr-defined]
    program = ["bash", "-c", '"$@"; exit $?', "bash", *worker(t, "a")]
    restarts(t, start(t, "a", program, ["--max-restarts", "1"], 1, 1))


def test_clients_of_an_embedded_coordinator_are_part_of_its_job(t: Case) -> None:
    agents = start(t, "a", worker(t, "a"))
    results(t, "a")
    for pid in (-1, None):
        client = plain(t, pid)
        expect(client.get("same") == b"a", "another process is not let into the job's store")
        client.conn.close()
    end(t, "a", agents)


def test_agent_that_stands_still(t: Case) -> None:
    """Nobody is guessed at: the client waits until the agent can speak."""
    t.serve()
    agents = start(t, "a", worker(t, "a"), ["--node-timeout", "60s"], 1, 1)
    results(t, "a", 1)
    agents[0].signal(signal.SIGSTOP)
    client = Client("127.0.0.1", t.port, os.getpid(), 30 * PATIENCE)
    wait_for(lambda: t.status().data["port"]["held_clients"] == 1, "the client to be held", 10 * PATIENCE)
    expect(shared(t)["clients"] == 0, f"it was let in: {shared(t)}")
    agents[0].signal(signal.SIGCONT)
    expect(client.pong() == os.getpid() and client.keys() == [], "it sees keys of the job")
    expect(shared(t)["clients"] == 1, f"shared store: {shared(t)}")
    end(t, "a", agents)


def test_agent_that_is_lost_with_the_answer(t: Case) -> None:
    """The client may be of that job: it is closed, and the next time it is clear that it is not."""
    t.serve()
    agents = start(t, "a", worker(t, "a"), (), 1, 1)
    results(t, "a", 1)
    agents[0].signal(signal.SIGSTOP)
    client = Client("127.0.0.1", t.port, os.getpid(), 30 * PATIENCE)
    wait_for(lambda: t.status().data["port"]["held_clients"] == 1, "the client to be held", 10 * PATIENCE)
    agents[0].signal(signal.SIGKILL)
    try:
        client.pong()
        raise Failure("a client whose job is not clear got a store")
    except Closed:
        pass
    wait_for(lambda: t.status().state("a") == "failed", "the job to end", 20 * PATIENCE)
    expect_plain_is_apart(t)
