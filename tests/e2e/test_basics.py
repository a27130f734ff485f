# SPDX-License-Identifier: Apache-2.0
"""Starting a job: environment, ranks, what is run, what is refused and in which words."""
from __future__ import annotations

import os
import re
import socket
import sys
import threading
from pathlib import Path

from muster import HELLO, MUSTER, WORKER, Case, expect, need_file
from procs import Proc, wait_for

PYTHON = sys.executable


def said(proc: Proc, pattern: str) -> str:
    """What the agent's stderr says that matches; the test fails if nothing does."""
    found = re.search(pattern, proc.err, re.IGNORECASE | re.MULTILINE)
    expect(found, f"{proc.name} does not say /{pattern}/")
    return found.group(0) if found else ""


def not_said(proc: Proc, pattern: str) -> None:
    found = re.search(pattern, proc.err, re.IGNORECASE)
    expect(not found, f"{proc.name} says /{pattern}/: {found.group(0) if found else ''}")


# ---- the environment contract ----

def test_env_of_one_node(t: Case) -> None:
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "4", "--max-restarts", "3"],
                    env={"RANK": "77", "WORLD_SIZE": "99", "MASTER_ADDR": "wrong", "CUSTOM": "a b=c"})
    workers = t.workers(4)
    t.go()
    agent.expect(0)
    for rank, worker in workers.items():
        expected = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0",
            "ROLE_RANK": str(rank), "ROLE_WORLD_SIZE": "4", "ROLE_NAME": "default",
            "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(t.port),
            "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "3",
            "TORCHELASTIC_RUN_ID": t.run_id, "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1", "OMP_NUM_THREADS": "1",
        }
        inherited = {**t.env, "CUSTOM": "a b=c"}
        got = dict(worker.env)
        error_file = got.pop("TORCHELASTIC_ERROR_FILE", "")
        expect(error_file.endswith(f"/{rank}/error.json"), f"error file of rank {rank}: {error_file!r}")
        expect(Path(error_file).is_absolute(), f"error file is not absolute: {error_file!r}")
        got.pop("ppid")
        wrong = {k: (v, got.get(k)) for k, v in {**inherited, **expected}.items() if got.get(k) != v}
        expect(not wrong, f"rank {rank}: (expected, got) {wrong}")
        ours = re.compile(r"MUSTER_|TORCHELASTIC_SIGNALS_TO_HANDLE$|LC_CTYPE$|PWD$|OLDPWD$|_$|SHLVL$")
        added = [k for k in got if k not in {**inherited, **expected} and not ours.match(k)]
        expect(not added, f"rank {rank}: variables nobody asked for: {added}")


def test_env_of_one_worker_keeps_omp_threads(t: Case) -> None:
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "1"])
    workers = t.workers(1)
    t.go()
    agent.expect(0)
    expect("OMP_NUM_THREADS" not in workers[0].env, "OMP_NUM_THREADS is set for a single worker")


def test_env_omp_threads_given(t: Case) -> None:
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "2"], env={"OMP_NUM_THREADS": "7"})
    workers = t.workers(2)
    t.go()
    agent.expect(0)
    expect(all(w.env["OMP_NUM_THREADS"] == "7" for w in workers.values()), "OMP_NUM_THREADS was changed")


def test_standalone_chooses_a_port(t: Case) -> None:
    agents, ports = [], []
    for k in range(2):
        directory = t.dir / f"alone{k}"
        directory.mkdir()
        agents.append(t.spawn(f"alone{k}", [MUSTER, "run", "--standalone", "--nproc-per-node", "2",
                                            "--no-python", WORKER], {"E2E_DIR": str(directory)}))
    for k in range(2):
        directory = t.dir / f"alone{k}"
        wait_for(lambda d=directory: len(list(d.glob("0.*.env"))) == 2, f"workers of job {k}")
        text = (directory / "0.0.env").read_text()
        ports += re.findall(r"^MASTER_PORT=(\d+)$", text, re.MULTILINE)
    for k in range(2):
        (t.dir / f"alone{k}" / "go").touch()
    for agent in agents:
        agent.expect(0)
    expect(len(set(ports)) == 2, f"two stand-alone jobs have the ports {ports}")


# ---- ranks ----

def test_three_nodes_meet_through_the_store(t: Case) -> None:
    need_file(HELLO)
    agents = t.agents(3, 8, program=[HELLO])
    for agent in agents:
        agent.expect(0)


def test_ranks_are_contiguous_by_node(t: Case) -> None:
    agents = t.agents(3, 8)
    workers = t.workers(24)
    t.go()
    for agent in agents:
        agent.expect(0)
    parents = {agent.pid: k for k, agent in enumerate(agents)}
    for rank, worker in workers.items():
        expect(worker.node == rank // 8, f"rank {rank} is on node {worker.node}")
        expect(worker.env["LOCAL_RANK"] == str(rank % 8), f"rank {rank}: local {worker.env['LOCAL_RANK']}")
        for name, value in {"WORLD_SIZE": "24", "GROUP_WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "8"}.items():
            expect(worker.env[name] == value, f"rank {rank}: {name}={worker.env[name]}")
        node = parents.get(int(worker.env["ppid"]))
        expect(node in (None, worker.node), f"rank {rank} was started by node{node}")
    masters = {(w.env["MASTER_ADDR"], w.env["MASTER_PORT"]) for w in workers.values()}
    expect(masters == {("127.0.0.1", str(t.port))}, f"masters {masters}")


def node_order(t: Case, names: list[str], options: list[list[str]], expected: list[str]) -> None:
    """Start agents in the given order; each marks its workers with its name."""
    agents = []
    for name, extra in zip(names, options):
        agents.append(t.agent(name, ["--nnodes", str(len(names)), "--nproc-per-node", "2", *extra],
                              env={"WHOSE": name}))
        if len(agents) == 1:
            t.wait_listening(agents[0])
    workers = t.workers(2 * len(names))
    t.go()
    for agent in agents:
        agent.expect(0)
    got = [workers[2 * k].env["WHOSE"] for k in range(len(names))]
    expect(got == expected, f"order of nodes {got}, not {expected}")


def test_natural_order_of_names(t: Case) -> None:
    node_order(t, ["node10", "node2", "node1"], [[], [], []], ["node1", "node2", "node10"])


def test_explicit_node_ranks(t: Case) -> None:
    node_order(t, ["a", "b", "c"], [["--node-rank", "2"], ["--node-rank", "0"], ["--node-rank", "1"]],
               ["b", "c", "a"])


def test_local_world_sizes_may_differ(t: Case) -> None:
    first = t.agent("node1", ["--nnodes", "2", "--nproc-per-node", "1"])
    t.wait_listening(first)
    second = t.agent("node2", ["--nnodes", "2", "--nproc-per-node", "3"])
    workers = t.workers(4)
    t.go()
    first.expect(0)
    second.expect(0)
    got = [(w.node, w.env["LOCAL_RANK"], w.env["LOCAL_WORLD_SIZE"]) for _, w in sorted(workers.items())]
    expect(got == [(0, "0", "1"), (1, "0", "3"), (1, "1", "3"), (1, "2", "3")], f"{got}")


# ---- what is run ----

PRINT_ARGS = "import json, os, sys\nprint('ARGS', json.dumps(sys.argv), os.environ['RANK'], __name__)\n"


def one(t: Case, options: list[str], program: list[str]) -> Proc:
    return t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "1", "--python", PYTHON, *options],
                   program, plain=False)


def test_script_and_its_arguments_are_untouched(t: Case) -> None:
    (t.dir / "script.py").write_text(PRINT_ARGS)
    agent = one(t, [], ["script.py", "--nnodes", "9", "-m", "--", "--x=1", "", "a b", "--help"])
    agent.expect(0)
    wanted = '["script.py", "--nnodes", "9", "-m", "--", "--x=1", "", "a b", "--help"] 0 __main__'
    expect(wanted in agent.out, f"script saw: {agent.out!r}")


def test_double_dash_ends_the_options(t: Case) -> None:
    (t.dir / "--odd.py").write_text(PRINT_ARGS)
    agent = one(t, ["--"], ["./--odd.py", "-v"])
    agent.expect(0)
    expect('["./--odd.py", "-v"]' in agent.out, f"script saw: {agent.out!r}")


def test_module(t: Case) -> None:
    (t.dir / "pkg").mkdir()
    (t.dir / "pkg/__init__.py").write_text("")
    (t.dir / "pkg/train.py").write_text(PRINT_ARGS)
    agent = one(t, ["-m"], ["pkg.train", "--lr", "1"])
    agent.expect(0)
    expect('"--lr", "1"] 0 __main__' in agent.out, f"module saw: {agent.out!r}")


def test_no_python_looks_up_the_path(t: Case) -> None:
    agent = one(t, ["--no-python"], ["echo", "-n", "--rank", "here"])
    agent.expect(0)
    expect("--rank here" in agent.out, f"echo printed: {agent.out!r}")


# ---- what is refused ----

def test_unknown_option_names_the_nearest(t: Case) -> None:
    proc = t.run("run", "--nproc-per-noed", "2", "x.py")
    proc.expect(2)
    said(proc, "--nproc-per-noed")
    said(proc, "--nproc-per-node")


def test_unknown_subcommand_names_the_nearest(t: Case) -> None:
    proc = t.run("statsu")
    proc.expect(2)
    said(proc, r"statsu")
    said(proc, r"\bstatus\b")


def test_bad_values_are_usage_errors(t: Case) -> None:
    for options in (["--nnodes", "0"], ["--nnodes", "3:2"], ["--nproc-per-node", "many"],
                    ["--max-restarts", "-1"], ["--join-timeout", "soon"], ["--grace"]):
        proc = t.run("run", *options, *([] if options == ["--grace"] else ["x.py"]))
        expect(proc.wait() == 2, f"{options}: exit status {proc.wait()}, not 2")
        said(proc, re.escape(options[0].lstrip("-")))
    t.run("run").expect(2)


def test_missing_script(t: Case) -> None:
    agent = one(t, [], ["no/such/script.py"])
    agent.expect(127)
    said(agent, r"script not found.*\n  cause     'no/such/script\.py', from the directory ")


def test_missing_program(t: Case) -> None:
    agent = one(t, ["--no-python"], ["no-such-program-anywhere"])
    agent.expect(127)
    said(agent, r"no-such-program-anywhere")
    said(agent, r"not found|no such file")


def test_missing_interpreter(t: Case) -> None:
    (t.dir / "script.py").write_text("")
    agent = t.agent("node1", ["--nproc-per-node", "1", "--python", "/no/such/python"],
                    ["script.py"], plain=False)
    agent.expect(127)
    said(agent, r"/no/such/python")


def test_not_executable(t: Case) -> None:
    (t.dir / "program").write_text("#!/bin/sh\n")
    agent = one(t, ["--no-python"], ["./program"])
    agent.expect(126)
    said(agent, r"\./program|/program")
    said(agent, r"not executable|permission denied")


def test_node_missing_until_the_join_timeout(t: Case) -> None:
    agents = []
    for name in ("node1", "node2"):
        agents.append(t.agent(name, ["--nnodes", "3", "--nproc-per-node", "1", "--join-timeout", "8s"]))
        t.wait_listening(agents[0])
    agents[0].wait_err("2/3", 10)  # the progress line
    line = said(agents[0], r"^.*2/3.*$")
    expect("node1" in line and "node2" in line or "waiting for" in line, f"who is there? {line}")
    for agent in agents:
        agent.expect(1, 20)
        said(agent, r"2 of 3|2/3|1 (node )?(is )?missing")
        errors = [x for x in agent.err.splitlines() if re.search(r"\berror\b", x)]
        expect(len(errors) == 1, f"{agent.name}: {len(errors)} errors instead of one: {errors}")
    expect(not t.worker_files(0), "workers were started")


def test_wrong_run_id_is_refused_in_words(t: Case) -> None:
    first = t.agent("node1", ["--nnodes", "2", "--nproc-per-node", "1", "--join-timeout", "20s"])
    t.wait_listening(first)
    stranger = t.agent("node2", ["--nnodes", "2", "--nproc-per-node", "1", "--join-timeout", "5s"],
                       run_id="another-job")
    status = stranger.wait(15)
    expect(status != 0, "an agent with another run id was let in")
    said(stranger, r"another-job")
    said(stranger, r"run id")
    right = t.agent("node2", ["--nnodes", "2", "--nproc-per-node", "1"], log_name="right")
    t.workers(2)
    t.go()
    first.expect(0)
    right.expect(0)


class Stranger:
    """A TCP server that is not muster: silent, or speaking something else."""

    def __init__(self, port: int, greeting: bytes) -> None:
        self.greeting = greeting
        self.held: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.held.append(peer)
            if self.greeting:
                peer.recv(4096)
                peer.sendall(self.greeting)


def port_taken(t: Case, greeting: bytes) -> None:
    stranger = Stranger(t.port, greeting)
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "1"])
    agent.expect(1, 15)  # not after the join timeout: no other node will come
    said(agent, str(t.port))
    said(agent, r"not muster|not a muster|something else|another program|does not (speak|answer)|no answer|taken|in use")
    expect(not t.worker_files(0), "workers were started")
    stranger.listener.close()


def test_log_directory_is_a_file(t: Case) -> None:
    (t.dir / "file").write_text("")
    for name, path in (("node1", t.dir / "file"), ("node2", t.dir / "file" / "logs")):
        agent = t.agent(name, ["--log-dir", path])
        agent.expect(2)
        said(agent, r"--log-dir: .*file: a file that is no directory is in the way")
        expect(agent.err.count("\n") == 1, f"more than a line: {agent.err}")


def test_port_taken_by_a_silent_stranger(t: Case) -> None:
    port_taken(t, b"")


def test_port_taken_by_a_web_server(t: Case) -> None:
    port_taken(t, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_endpoint_of_another_machine_that_is_not_there(t: Case) -> None:
    agent = t.agent("node2", ["--nnodes", "2", "--nproc-per-node", "1", "--join-timeout", "2s"],
                    endpoint="no-such-host.invalid:29500")
    agent.expect(1, 30)
    said(agent, r"no-such-host\.invalid")
    not_said(agent, r"internal error")


# ---- status ----

def test_status_of_every_state(t: Case) -> None:
    t.run("status", f"127.0.0.1:{t.port}").expect(3)
    t.serve()
    first = t.agent("node1", ["--nnodes", "2", "--nproc-per-node", "2"])
    status = t.wait_state("forming")
    expect(status.exit_code == 2, f"forming: exit status {status.exit_code}")
    second = t.agent("node2", ["--nnodes", "2", "--nproc-per-node", "2"])
    t.workers(4)
    status = t.wait_state("running")
    expect(status.exit_code == 0, f"running: exit status {status.exit_code}")
    names = [node.get("name") for node in status.nodes(t.run_id)]
    expect(names == ["node1", "node2"], f"nodes {names} in {status.text}")
    table = t.run("status", f"127.0.0.1:{t.port}")
    table.expect(0)
    for word in (t.run_id, "running", "node1", "node2"):
        expect(word in table.out, f"the table does not show {word}: {table.out}")
    t.go()
    first.expect(0)
    second.expect(0)
    status = t.wait_state("succeeded")
    expect(status.exit_code == 0, f"succeeded: exit status {status.exit_code}")


def test_status_of_a_failed_job(t: Case) -> None:
    t.serve()
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "2"])
    t.workers(2)
    t.tell("exit.0.1", "5")
    agent.expect(5)
    status = t.wait_state("failed")
    expect(status.exit_code == 1, f"failed: exit status {status.exit_code}")
    table = t.run("status", f"127.0.0.1:{t.port}")
    table.expect(1)
    expect(os.linesep in table.out and "failed" in table.out, f"table: {table.out!r}")


def test_embedded_coordinator_answers_status(t: Case) -> None:
    agents = t.agents(2, 1)
    t.workers(2)
    status = t.wait_state("running")
    expect(status.exit_code == 0, f"running: exit status {status.exit_code}")
    t.go()
    for agent in agents:
        agent.expect(0)
    t.run("status", f"127.0.0.1:{t.port}").expect(3)


# ---- what a worker starts with ----

# Built-ins only, so that the descriptors are the shell's own.
PRINT_INHERITED = """
n=0
while [ "$n" -lt 100 ]; do
    if [ -e "/proc/self/fd/$n" ]; then echo "$n"; fi
    n=$((n + 1))
done
grep -E '^Sig(Blk|Ign)' /proc/self/status
"""


def test_workers_inherit_nothing_but_the_standard_streams(t: Case) -> None:
    agent = one(t, ["--no-python"], ["sh", "-c", PRINT_INHERITED])
    agent.expect(0)
    fds = set(re.findall(r"^\D*(\d{1,4})$", agent.out, re.MULTILINE))
    expect(fds == {"0", "1", "2"}, f"open descriptors: {sorted(fds)}")
    masks = re.findall(r"Sig(Blk|Ign):\s*([0-9a-f]+)", agent.out)
    ours = ~(1 << 31 | 1 << 32)  # 32 and 33 are the C library's; it leaves them ignored in what it spawns
    expect(len(masks) == 2 and all(int(mask, 16) & ours == 0 for _, mask in masks), f"signals: {masks}")


def test_output_passes_through_complete(t: Case) -> None:
    lines = 20000
    agent = one(t, ["--no-python"], ["sh", "-c", f"seq {lines}; seq {lines} >&2"])
    agent.expect(0)
    for stream in (agent.out, agent.err):
        numbers = re.findall(r"^(\d+)$", stream, re.MULTILINE)
        expect(numbers == [str(n) for n in range(1, lines + 1)], f"{len(numbers)} of {lines} lines")
