# SPDX-License-Identifier: Apache-2.0
"""Odd environments, and a port that strangers talk to."""
from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import sys

from muster import MUSTER, PATIENCE, WORKER, Case, expect, need_root, need_tools
from procs import Proc, wait_for

PREFACE = b"\x9dmst" + struct.pack("<HH", 5, 0)
LIMIT = 90


def text(s: bytes) -> bytes:
    return struct.pack("<I", len(s)) + s


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack("<IB", len(body) + 1, kind) + body


def hello(run_id: bytes = b"j", nodes: int = 1, node_timeout_ms: int = 5000) -> bytes:
    """What an agent begins with: the preface and HELLO; see include/muster/ctl_msg.def."""
    return PREFACE + frame(1, text(run_id) + struct.pack("<Q", 1) + text(b"n")
                           + struct.pack("<IIii", 1, 1, -1, -1) + text(b"default")
                           + struct.pack("<IIIBII", nodes, nodes, 0, 0, 0, 0)
                           + struct.pack("<qq", 0, 0) + text(b"") + text(b"")
                           + struct.pack("<qqqq", 60000, 0, node_timeout_ms, 0)
                           + struct.pack("<BQIBIIIIIIIB", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) + text(b""))


def exited(tail: bytes) -> bytes:
    return frame(3, struct.pack("<IIIBBBiBBBq", 1, 0, 5, 1, 0, 0, 3, 1, 0, 0, 0)
                 + text(b"") * 6 + text(tail))


def connect(t: Case, data: bytes = b"") -> socket.socket:
    conn = socket.create_connection(("127.0.0.1", t.port), 10 * PATIENCE)
    conn.sendall(data)
    return conn


# ---- what a process inherits ----

def run_with(t: Case, name: str, wrapper: str, *words: str) -> Proc:
    """`muster run --no-python WORDS` after the shell commands `wrapper`."""
    return t.spawn(name, ["sh", "-c", f'{wrapper}; exec "$@"', "sh", MUSTER, "run", "--no-python", *words])


def test_closed_standard_descriptors(t: Case) -> None:
    for name, closing in (("in", "exec <&-"), ("out", "exec >&-"), ("err", "exec 2>&-"),
                          ("all", "exec <&- >&- 2>&-")):
        run_with(t, name, closing, "sh", "-c", "exit 5").expect(5)
    run_with(t, "null", "exec <&-", "sh", "-c", "readlink /proc/self/fd/0").expect(0)
    proc = t.procs[-1]
    expect(proc.out.strip() == "/dev/null", f"the worker's standard input is {proc.out.strip()}")


def test_descriptor_limit_is_raised_but_not_for_workers(t: Case) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    expect(hard > 200, f"the hard limit is {hard}")
    proc = run_with(t, "few", "ulimit -S -n 40", "--nproc-per-node", "1", "sh", "-c", "ulimit -S -n")
    proc.expect(0)
    expect(proc.out.split() == ["40"], f"the worker's limit is {proc.out!r}")
    run_with(t, "many", "ulimit -S -n 40", "--nproc-per-node", "40", "true").expect(0)


BLOCKING = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "


def test_blocked_signals(t: Case) -> None:
    start = [sys.executable, "-c", BLOCKING + "os.execv(sys.argv[1], sys.argv[1:])", MUSTER, "run", "--no-python"]
    t.spawn("ends", [*start, "sh", "-c", "exit 3"]).expect(3)
    stopped = t.spawn("stopped", [*start, WORKER])
    t.workers(1)
    stopped.signal(signal.SIGTERM)
    stopped.expect(143)


def test_no_directory_for_logs(t: Case) -> None:
    proc = t.run("run", "--log-dir", "/proc/no/such", "--no-python", "true")
    proc.expect(126)
    expect("program not found" not in proc.err, "a directory that is missing is called a program")


def test_unusable_tmpdir(t: Case) -> None:
    for place in ("/no/such", "/proc"):
        run_with(t, "tmp" + place.replace("/", "-"), f"export TMPDIR={place}", "true").expect(0)


def test_script_whose_interpreter_is_missing(t: Case) -> None:
    script = t.dir / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    proc = run_with(t, "interpreter", ":", str(script))
    proc.expect(127)
    expect("names '/no/such/interpreter'" in proc.err, f"not said what is missing: {proc.err}")


def test_names_that_cannot_be_shown(t: Case) -> None:
    for option in ("--node-name", "--role", "--rdzv-id"):
        proc = run_with(t, option.strip("-"), ":", option, "a\x1b[31m", "true")
        proc.expect(2)
        expect(option in proc.err and "\x1b" not in proc.err, f"{option}: {proc.err!r}")


def test_port_of_another_user(t: Case) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", t.port))  # and does not listen
        agent = t.agent("node1", ["--join-timeout", "3s"], ["true"])
        agent.expect(1)
    expect("in use" in agent.err, f"not said that the port is taken: {agent.err}")


# ---- output that nobody reads ----

def test_serve_whose_output_is_not_read(t: Case) -> None:
    fifo = t.dir / "unread"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    server = t.spawn("serve", ["sh", "-c", 'exec "$@" 2>unread', "sh", MUSTER, "serve",
                               "--listen", f"127.0.0.1:{t.port}"])
    t.wait_listening(server)
    for _ in range(3000):  # a line of warning each
        connect(t, b"\x9d" + b"x" * 15).close()
    agents = [t.agent(f"node{k}", ["--nnodes", "2"], ["true"]) for k in (1, 2)]
    for agent in agents:
        agent.expect(0)
    server.signal(signal.SIGTERM)
    server.expect(0)
    os.close(reader)


def test_agent_whose_output_is_not_read(t: Case) -> None:
    os.mkfifo(t.dir / "unread")
    reader = os.open(t.dir / "unread", os.O_RDWR)
    agent = run_with(t, "agent", "exec 2>unread", "sh", "-c", "head -c 300000 /dev/zero >&2; exit 3")
    agent.expect(3, 15 * PATIENCE)
    os.close(reader)


# ---- strangers ----

def ask(t: Case) -> dict:
    status = t.status()
    expect(status.data, f"no status: {status.text!r}")
    return status.data


def test_numbers_of_a_stranger_do_not_stop_the_loop(t: Case) -> None:
    t.serve()
    conn = connect(t, hello(node_timeout_ms=1))
    expect(ask(t) is not None, "no answer any more")
    conn.close()


def test_run_id_of_a_stranger(t: Case) -> None:
    t.serve()
    for run_id in (b"\x1b[31m", b"\xc2\x9b31m", b"\xff\xfe", b"a\0b", b""):
        with connect(t, hello(run_id)) as conn:
            answer = conn.recv(4096)
            expect(answer[4:5] == b"\x11" and b"control characters" in answer, f"{run_id!r}: {answer!r}")
    expect(ask(t)["jobs"] == [], "a job was made")


def test_tail_that_is_no_text(t: Case) -> None:
    t.serve()
    with connect(t, hello() + exited(b"\x96\x88 83% \xe2\x96\x88 \xff end")):
        wait_for(lambda: ask(t)["jobs"] and ask(t)["jobs"][0]["failure"], "the failure")
        failure = ask(t)["jobs"][0]["failure"]
        expect(failure["stderr_tail"] == "?? 83% \u2588 ? end", f"{failure['stderr_tail']!r}")


def test_interrupt_while_forming_is_named_elsewhere(t: Case) -> None:
    sizes = ["--nnodes", "3"]
    first = t.agent("node1", sizes)
    t.wait_listening(first)
    second = t.agent("node2", sizes)
    first.wait_err("2/3", 15 * PATIENCE)
    first.signal(signal.SIGINT)
    second.expect(130)
    expect("SIGINT on node1" in second.err, f"node2 says: {second.err}")


def test_shutdown_of_serve_stops_its_jobs(t: Case) -> None:
    server = t.serve()
    agents = [t.agent(f"node{k}", ["--nnodes", "2"]) for k in (1, 2)]
    workers = t.workers(2)
    server.signal(signal.SIGTERM)
    for agent in agents:
        agent.expect(143)
        expect("SIGTERM to the coordinator" in agent.err, f"{agent.name} says: {agent.err}")
    server.expect(0)
    t.wait_gone([w.pid for w in workers.values()], "the workers")


def test_shutdown_of_serve_asked_for_twice(t: Case) -> None:
    server = t.serve()
    agent = t.agent("node1", ["--grace", "60s", "--node-timeout", "1s"], [WORKER, "--ignore-term"])
    workers = t.workers(1)
    server.signal(signal.SIGTERM)
    server.wait_err("again to close now")
    expect(t.status().data["jobs"][0]["state"] == "stopping", "no status while it stops")
    server.signal(signal.SIGTERM)
    server.expect(0)
    agent.signal(signal.SIGTERM)
    agent.wait_err("again for now")  # two at once would come in the order of their numbers
    agent.signal(signal.SIGINT)
    expect(agent.wait() != 0, "the agent reports success")
    t.wait_gone([w.pid for w in workers.values()], "the workers")


def test_no_loopback(t: Case) -> None:
    """A namespace of its own where nothing is up: one node waits for nobody, so it gives up soon."""
    need_root()
    need_tools("unshare")
    agent = t.spawn("node1", ["unshare", "-n", MUSTER, "run", "--no-python", WORKER])
    agent.expect(1, 15 * PATIENCE)
    expect("unreachable" in agent.err, f"it says: {agent.err}")


# ---- messages ----

def test_status_says_what_is_not_there(t: Case) -> None:
    t.serve()
    asked = t.run("status", f"127.0.0.1:{t.port}", "--rdzv-id", "other")
    expect(asked.out == "no job 'other'\n", f"{asked.out!r}")
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        asked = t.spawn("asked", [MUSTER, "status", "127.0.0.1:%d" % stranger.getsockname()[1]])
        conn, _ = stranger.accept()
        with conn:
            conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            asked.expect(3)
    expect("no muster coordinator" in asked.err, asked.err)


def test_address_to_serve_on_is_elsewhere(t: Case) -> None:
    server = t.run("serve", "--listen", f"192.0.2.1:{t.port}")
    server.expect(2)
    expect("not an address of this machine" in server.err, server.err)
