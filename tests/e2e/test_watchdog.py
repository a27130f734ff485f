# SPDX-License-Identifier: Apache-2.0
"""The watchdog torch expects of its launcher, with torch's own client; the liveness port; torchrun's events."""
from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
import urllib.request
from pathlib import Path
from typing import Any, Mapping, Sequence

from muster import MUSTER, PATIENCE, ROOT, Case, expect, free_port
from procs import Proc, Skip, wait_for

ENABLED = {"TORCHELASTIC_ENABLE_FILE_TIMER": "1"}


def torch_python() -> str:
    python = os.environ.get("MUSTER_TORCH_PYTHON", str(ROOT / "build/venv/bin/python"))
    if not os.access(python, os.X_OK):
        raise Skip("no torch: scripts/venv.sh makes build/venv")
    return python


def script(t: Case, text: str) -> list[str]:
    path = t.dir / "script.py"
    path.write_text(text)
    return [str(path)]


def said_by(proc: Proc) -> str:
    """What it said, without the line breaks of a report."""
    return " ".join(proc.err.split())


def fifos(t: Case) -> list[Path]:
    return [path for path in t.dir.iterdir() if stat.S_ISFIFO(path.lstat().st_mode)]


# ---- torch's own client ----

TORCH = """
import os, signal, sys, time
import torch.distributed.elastic.timer as timer
client = timer.FileTimerClient(os.environ["TORCHELASTIC_TIMER_FILE"])
timer.configure(client)
with timer.expires(after=60, scope="released"):
    pass
with timer.expires(after=0.2, scope="released too"):
    pass
time.sleep(0.5)
print("still here", flush=True)
if os.environ["RANK"] == "1":
    with timer.expires(after=0.3, scope="a step that hangs"):
        time.sleep(600)
if len(sys.argv) > 1:
    time.sleep(600)
"""


def test_torch_timers_that_are_released(t: Case) -> None:
    agent, = t.agents(1, 1, ["--python", torch_python()], script(t, TORCH), plain=False, env=ENABLED)
    agent.expect(0, 60 * PATIENCE)
    expect("still here" in agent.out, agent.out)
    expect(not fifos(t), f"left behind: {fifos(t)}")


def test_torch_timer_that_expires(t: Case) -> None:
    agents = t.agents(2, 1, ["--python", torch_python()], [*script(t, TORCH), "hang"], plain=False,
                      env=ENABLED)
    for agent in agents:
        agent.expect(137, 60 * PATIENCE)
    expect("rank 1" in said_by(agents[0]) and "killed by SIGKILL" in said_by(agents[0]), agents[0].err)
    expect("file timer 'a step that hangs'" in said_by(agents[0]), "the report does not say why")
    expect("file timer 'a step that hangs'" in said_by(agents[1]), "the node does not say it")
    expect("expired after 0.3 s" in said_by(agents[1]), agents[1].err)
    expect(not fifos(t), f"left behind: {fifos(t)}")


# ---- any client ----

CLIENT = """
import json, os, signal, subprocess, sys, time
def ask(pid, scope, seconds, signo=9, text=None):
    fd = os.open(os.environ["TORCHELASTIC_TIMER_FILE"], os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(fd, True)
    os.write(fd, (text or json.dumps({"version": 1, "pid": pid, "scope_id": scope,
             "expiration_time": time.time() + seconds if seconds >= 0 else -1, "signal": signo}) + "\\n").encode())
    os.close(fd)
def said(name):
    open(os.environ["E2E_DIR"] + "/" + name, "w").close()
"""


def run(t: Case, text: str, options: Sequence[str] = (), nproc: int = 1,
        env: Mapping[str, str] = ENABLED) -> Proc:
    agent, = t.agents(1, nproc, ["--python", sys.executable, *options], script(t, CLIENT + text),
                      plain=False, env={**ENABLED, **env})
    return agent


def test_foreign_process_is_not_touched(t: Case) -> None:
    bystander = t.spawn("bystander", ["sleep", "600"])
    agent = run(t, f"ask({bystander.pid}, 's', 0); ask(1, 's', 0); ask(os.getppid(), 's', 0); "
                   "ask(os.getpid(), 'end', 0.5); time.sleep(600)")
    agent.expect(137)
    for pid in (bystander.pid, 1):
        expect(f"of pid {pid} expired" in said_by(agent), agent.err)
    expect(agent.err.count("no worker of this node has such a process") == 3, agent.err)
    expect("file timer 'end'" in said_by(agent), agent.err)
    expect(bystander.is_running(), "a foreign process was killed")
    bystander.signal(signal.SIGKILL)
    bystander.wait()


def test_child_of_a_worker(t: Case) -> None:
    """A data loader's timer: the worker that waits for it is the culprit."""
    agent = run(t, "child = subprocess.Popen(['sleep', '600']); ask(child.pid, 'load', 0.1); child.wait(); "
                   "time.sleep(600)", nproc=2)
    agent.expect(137)
    expect("file timer 'load'" in said_by(agent) and "killed by SIGKILL" in said_by(agent), agent.err)


def test_worker_that_ignores_the_signal(t: Case) -> None:
    agent = run(t, "signal.signal(signal.SIGTERM, signal.SIG_IGN); ask(os.getpid(), 's', 0, 15); "
                   "time.sleep(600)", ["--grace", "1s"])
    agent.expect(137)
    expect("file timer 's'" in said_by(agent) and "it was sent SIGTERM" in said_by(agent), agent.err)


def test_worker_that_calls_it_success(t: Case) -> None:
    agent = run(t, "signal.signal(signal.SIGTERM, lambda *a: sys.exit(0)); ask(os.getpid(), 's', 0, 15); "
                   "time.sleep(600)")
    agent.expect(1)
    expect("exited with status 0 then, which counts as 1" in said_by(agent), agent.err)


def test_timer_without_a_signal(t: Case) -> None:
    agent = run(t, "ask(os.getpid(), 's', 0, 0); time.sleep(0.5)")
    agent.expect(0)
    expect("it asked for no signal" in said_by(agent), agent.err)


def test_restart_after_an_expiry(t: Case) -> None:
    agent = run(t, "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
                   "    ask(os.getpid(), 'later', 1); ask(os.getpid(), 's', 0); time.sleep(600)\n"
                   "time.sleep(1.5)\n", ["--max-restarts", "1"])
    agent.expect(0)
    expect(agent.err.count("file timer") >= 1 and "'later'" not in said_by(agent), agent.err)


def test_nonsense_in_the_pipe(t: Case) -> None:
    agent = run(t, "for i in range(2000): ask(0, '', 0, text='x' * 4000 + '\\n')\n"
                   "ask(os.getpid(), 's', 0); time.sleep(600)")
    agent.expect(137)
    expect(agent.err.count("no request for a file timer") == 1, agent.err)


def test_preset_path(t: Case) -> None:
    path = t.dir / "given"
    os.mkfifo(path)  # of an earlier run
    agent = run(t, "said(os.environ['TORCHELASTIC_TIMER_FILE'].replace('/', '_')); "
                   "ask(os.getpid(), 's', 0); time.sleep(600)",
                env={"TORCHELASTIC_TIMER_FILE": str(path)})
    agent.expect(137)
    expect((t.job_dir / str(path).replace("/", "_")).exists(), "workers were told another path")
    expect(not path.exists(), "the FIFO was left behind")


def test_preset_path_that_is_a_file(t: Case) -> None:
    path = t.dir / "precious"
    path.write_text("data")
    agent = run(t, "", env={"TORCHELASTIC_TIMER_FILE": str(path)})
    agent.expect(126)
    expect("is no FIFO: not replaced" in said_by(agent), agent.err)
    expect(path.read_text() == "data", "the file was overwritten")


def test_not_enabled(t: Case) -> None:
    """A preset path is passed on, as torchrun does, and nobody makes anything there."""
    agent = run(t, "sys.exit(0 if os.environ['TORCHELASTIC_TIMER_FILE'] == '/no/such' else 3)",
                env={"TORCHELASTIC_ENABLE_FILE_TIMER": "true", "TORCHELASTIC_TIMER_FILE": "/no/such"})
    agent.expect(0)
    expect(not fifos(t), "a FIFO was made")


# ---- liveness ----

def request(port: int, text: bytes, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, port), timeout=10) as conn:
        conn.sendall(text)
        answer = b""
        while part := conn.recv(4096):
            answer += part
        return answer


def test_liveness_port(t: Case) -> None:
    port = free_port()
    agent = t.agent("node1", ["--nnodes", "2"], env={"TORCHELASTIC_HEALTH_CHECK_PORT": str(port)})
    wait_for(lambda: agent.listens(port), "the agent to listen")
    # Already before the nodes are complete: that can take long, and is no reason to be restarted.
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD /healthz HTTP/1.0\r\n\r\n", b"GET /\n\n"):
        answer = request(port, text)
        expect(answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\n"), repr(answer))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as reply:
        expect(reply.status == 200, f"status {reply.status}")
    t.agent("node2", ["--nnodes", "2"])
    t.workers(2)
    expect(request(port, b"GET / HTTP/1.1\r\n\r\n"), "no answer while the workers run")
    t.go()
    agent.expect(0)


def test_liveness_port_is_bounded(t: Case) -> None:
    port = free_port()
    agent, = t.agents(1, 1, env={"TORCHELASTIC_HEALTH_CHECK_PORT": str(port)})
    t.workers(1)
    wait_for(lambda: agent.listens(port), "the agent to listen")
    before = agent.fds()
    silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(40)]
    wait_for(lambda: agent.fds() <= before + 16, "callers beyond the limit to be turned away")
    # They are hung up on after a while, and then there is room again.
    for conn in silent:
        conn.settimeout(30)
        expect(hung_up(conn), "a silent caller was answered")
    wait_for(lambda: agent.fds() == before, "their descriptors to be closed")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as conn:
        conn.sendall(b"x" * 100000)
        expect(hung_up(conn), "an endless header was answered")
    expect(request(port, b"GET / HTTP/1.1\r\n\r\n"), "no answer after that")
    t.go()
    agent.expect(0)


def hung_up(conn: socket.socket) -> bool:
    try:
        return conn.recv(1) == b""
    except ConnectionResetError:
        return True


def test_liveness_port_that_cannot_be(t: Case) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for text, why in ((str(port), "listen on port"), ("http", "http"), ("70000", "70000")):
            agent = t.run("run", "--no-python", "true", env={"TORCHELASTIC_HEALTH_CHECK_PORT": text})
            agent.expect(0)
            expect("TORCHELASTIC_HEALTH_CHECK_PORT" in agent.err and why in agent.err, agent.err)


# ---- events ----

def events_of(agent: Proc) -> list[dict[str, Any]]:
    return [json.loads(line) for line in agent.err.splitlines() if line.startswith('{"name"')]


def names_of(events: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    head = "torchelastic.worker.status."
    expect(all(event["name"] == head + event["metadata"]["state"] for event in events), str(events))
    return [(event["source"], event["metadata"]["state"], event["metadata"]["global_rank"])
            for event in events]


def test_events_of_success(t: Case) -> None:
    agent = t.run("run", "--event-log-handler", "console", "--nproc-per-node", "2", "--no-python", "true")
    agent.expect(0)
    names = names_of(events_of(agent))
    expect(names[0] == ("AGENT", "RENDEZVOUS", None) and names[-1] == ("AGENT", "SUCCEEDED", None), str(names))
    expect(sorted(names[1:-1]) == [("WORKER", state, rank) for state in ("START", "SUCCEEDED")
                                   for rank in (0, 1)], str(names))


def test_events_of_failure(t: Case) -> None:
    agents = t.agents(2, 1, ["--event-log-handler", "console"])
    workers = t.workers(2)
    t.tell("exit.0.1", "3")
    for agent in agents:
        agent.expect(3)
    failed = next(e for e in events_of(agents[1]) if e["metadata"]["state"] == "FAILED")
    details = json.loads(failed["metadata"]["metadata"])
    expect(failed["source"] == "WORKER" and details["exit_code"] == [3]
           and details["worker_pid"] == [workers[1].pid] and details["group_world_size"] == 2, str(failed))
    stopped = next(e for e in events_of(agents[0]) if e["metadata"]["state"] == "TERMINATED")
    expect(json.loads(stopped["metadata"]["metadata"])["exit_code"] == [-signal.SIGTERM], str(stopped))
    for agent in agents:
        expect(names_of(events_of(agent))[-1] == ("AGENT", "FAILED", None), agent.err)


def test_events_have_torchruns_form(t: Case) -> None:
    """The same fields with values of the same type, event by event."""
    def form(events: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
        found = {}
        for event in events:
            metadata = event["metadata"]
            fields = {name: kind_of(value) for name, value in metadata.items()}
            inner = {name: type(value) for name, value in json.loads(metadata["metadata"]).items()}
            found[event["source"], metadata["state"]] = (sorted(event), fields, inner)
        return found

    words = ["--event-log-handler", "console", "--nproc-per-node", "2", *script(t, "")]
    theirs = t.spawn("torchrun", [torch_python(), "-m", "torch.distributed.run", *words])
    ours = t.spawn("muster", [MUSTER, "run", "--python", sys.executable, *words])
    ours.expect(0)
    theirs.expect(0, 60 * PATIENCE)
    expected = form(events_of(theirs))
    expected.pop(("AGENT", "ASSIGN_WORKER_RANKS"))  # no step of its own in muster
    for event in expected.values():  # not known yet in torchrun's, said as what it is in ours
        event[1].pop("group_rank"), event[2].pop("group_world_size")
    got = form(events_of(ours))
    for event in got.values():
        event[1].pop("group_rank"), event[2].pop("group_world_size")
    expect(got == expected, f"\n{got}\n{expected}")


def kind_of(value: Any) -> type:
    return int if isinstance(value, float) else type(value)


def test_event_log_handlers(t: Case) -> None:
    for name, said in (("null", ""), ("dynamic_rendezvous", ""), ("nosuch", "neither null nor console")):
        agent = t.run("run", "--event-log-handler", name, "--no-python", "true")
        agent.expect(0)
        expect(said in agent.err and (said or not agent.err), f"{name}: {agent.err}")
