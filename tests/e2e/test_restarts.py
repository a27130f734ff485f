# SPDX-License-Identifier: Apache-2.0
"""What is started again after a failure, what is not, at whose expense, and what is said of it."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any, Sequence

from muster import MUSTER, PATIENCE, WORKER, Case, expect
from procs import Proc, wait_for

NODES, NPROC = 2, 2
ALL = NODES * NPROC
SOON = ["--min-uptime", "1h"]  # whatever happens, it happens soon after the start
LATE = ["--min-uptime", "1ms"]  # it never does


def start(t: Case, *options: str) -> list[Proc]:
    return t.agents(NODES, NPROC, ["--grace", "5s", *options])


def fail(t: Case, turn: int, rank: int, status: int) -> None:
    t.workers(ALL, turn)
    t.tell(f"exit.{turn}.{rank}", str(status))


def expect_end(t: Case, agents: Sequence[Proc], status: int, rounds: int, said: str = "") -> None:
    for agent in agents:
        agent.expect(status, 20 * PATIENCE)
    ran = sum(1 for turn in range(rounds + 5) if t.worker_files(turn))
    expect(ran == rounds, f"{ran} rounds and not {rounds}")
    # On the screen, a row of which is folded, and in the line of the other agents.
    for agent in agents:
        text = re.sub(r"\s+", " ", agent.err)
        expect(re.search(said, text), f"{agent.name} does not say /{said}/")


def expect_goes_on(t: Case, agents: Sequence[Proc], turn: int) -> None:
    t.workers(ALL, turn)
    t.go()
    for agent in agents:
        agent.expect(0)


def kinds_of(job: dict[str, Any]) -> list[str]:
    return [event["kind"] for event in job.get("events", [])]


# ---- the same way twice ----

def test_same_way_twice(t: Case) -> None:
    agents = start(t, "--max-restarts", "5", *SOON)
    fail(t, 0, 0, 3)
    fail(t, 1, 3, 3)  # another rank, of another node
    expect_end(t, agents, 3, 2, r"failed the same way twice within 1 h of its start \(exited with status 3\): "
                                r"restarting would not help")
    expect("after 1 of 5 restarts" in agents[0].err, "the report does not count the restart")


def test_same_exception_twice(t: Case) -> None:
    script = t.dir / "raises.py"
    script.write_text("import os\nraise ValueError(f\"rank {os.environ['RANK']} holds {id(os):#x}\")\n")
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "2", "--max-restarts", "5", *SOON],
                    [str(script)], plain=False, env={"PYTHON_EXEC": sys.executable})
    agent.expect(1, 20 * PATIENCE)
    text = re.sub(r"\s+", " ", agent.err)
    expect(re.search(r"failed the same way twice within 1 h of its start \(ValueError: rank [01] holds", text),
           "the exception is not what is said to be the same")
    expect("restart 1 of 5" in agent.err and "restart 2 of 5" not in agent.err, "not one restart")


def test_another_way(t: Case) -> None:
    agents = start(t, "--max-restarts", "5", *SOON)
    for turn in range(4):
        fail(t, turn, 0, 3 + turn % 2)
    expect_goes_on(t, agents, 4)


def test_killed_twice_is_not_the_same_way(t: Case) -> None:
    agents = start(t, "--max-restarts", "5", *SOON)
    for turn in range(3):
        os.kill(t.workers(ALL, turn)[1].pid, signal.SIGKILL)
    expect_goes_on(t, agents, 3)


def test_same_way_but_late(t: Case) -> None:
    agents = start(t, "--max-restarts", "5", *LATE)
    for turn in range(3):
        fail(t, turn, 1, 3)
    expect_goes_on(t, agents, 3)


def test_same_way_switched_off(t: Case) -> None:
    agents = start(t, "--max-restarts", "3", "--min-uptime", "0")
    for turn in range(4):
        fail(t, turn, 1, 3)
    expect_end(t, agents, 3, 4)
    expect("restart   none" not in agents[0].err, "a reason beside the number of restarts")


# ---- exit codes, programs that are none ----

def test_stop_exit_code(t: Case) -> None:
    agents = start(t, "--max-restarts", "5", "--stop-exit-codes", "2,64-78")
    fail(t, 0, 2, 1)
    fail(t, 1, 2, 70)
    expect_end(t, agents, 70, 2, "exit status 70 is one of --stop-exit-codes")


def test_retry_exit_code(t: Case) -> None:
    agents = start(t, "--retry-exit-codes", "75", *LATE)  # and no restarts at all
    for turn in range(4):
        fail(t, turn, turn, 75)
    workers = t.workers(ALL, 4)
    expect(all(w.env["TORCHELASTIC_RESTART_COUNT"] == "0" for w in workers.values()), "a restart was counted")
    fail(t, 4, 0, 1)
    expect_end(t, agents, 1, 5)
    expect("exit status 75 asks for a restart, which costs none" in agents[0].err, "it is not said why")


def test_retry_at_once_costs_restarts(t: Case) -> None:
    agents = start(t, "--max-restarts", "2", "--retry-exit-codes", "75", *SOON)
    for turn in range(3):
        fail(t, turn, 0, 75)
    expect_end(t, agents, 75, 3, "exit status 75 asks for a restart, which costs one so soon after the start, "
                                 "but no restart is left, 2 of 2 are used")


def test_not_executed_is_not_restarted(t: Case) -> None:
    report = t.dir / "report.json"
    agent = t.agent("node1", ["--nnodes", "1", "--max-restarts", "5", "--report", str(report)], ["/no/such/program"])
    agent.expect(127)
    expect("what cannot be executed would fail the same way again" in re.sub(r"\s+", " ", agent.err), "no reason")
    found = json.loads(report.read_text())
    expect(found["round"] == 1 and found["restarts"] == 0, f"it was restarted: {found}")
    expect(found["not_restarted"] == "what cannot be executed would fail the same way again", str(found))


# ---- the window ----

def test_restarts_of_long_ago_do_not_count(t: Case) -> None:
    agents = start(t, "--max-restarts", "1", "--restart-window", "1ms")
    for turn in range(4):
        fail(t, turn, 0, 3 + turn)
    workers = t.workers(ALL, 4)
    expect(workers[0].env["TORCHELASTIC_RESTART_COUNT"] == "4", "the restart count is not of the whole job")
    expect_goes_on(t, agents, 4)


def test_restarts_within_the_window_count(t: Case) -> None:
    agents = start(t, "--max-restarts", "1", "--restart-window", "1h")
    fail(t, 0, 0, 3)
    fail(t, 1, 0, 4)
    expect_end(t, agents, 4, 2)
    expect("restart 1 of 1 within 1 h: rank 0 on node1" in agents[0].err, "the window is not named")


# ---- nodes that are lost again and again ----

ELASTIC = ["--nnodes", "1:2", "--nproc-per-node", "2", "--last-call", "60s", "--max-node-losses", "1"]
REFUSED = "node2 was lost 1 times within 1 h, so the job goes on without it"


def lose_node2(t: Case, options: Sequence[str]) -> Proc:
    """node1 and node2 run, node2's agent is killed."""
    first = t.agent("node1", options)
    t.wait_listening(first)
    second = t.agent("node2", options)
    t.workers(4)
    second.signal(signal.SIGKILL)
    second.wait()
    return first


def test_node_lost_too_often(t: Case) -> None:
    first = lose_node2(t, ELASTIC)
    wait_for(lambda: len(t.worker_files(1)) == 2, "a round of one node", 20 * PATIENCE)
    again = t.agent("node2", ELASTIC, log_name="node2-again")
    again.expect(1)
    expect(REFUSED in again.err, "the sentence is missing")
    t.go()
    first.expect(0)


def test_replacement_for_a_node_lost_too_often(t: Case) -> None:
    options = ["--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", "1", "--max-node-losses", "1",
               "--join-timeout", "60s"]
    first = lose_node2(t, options)
    again = t.agent("node2", options, log_name="node2-again")
    again.expect(1)
    expect(REFUSED in again.err, "the sentence is missing")
    other = t.agent("node3", options)
    t.workers(4, turn=1)
    t.go()
    for agent in (first, other):
        agent.expect(0)


def test_any_number_of_losses(t: Case) -> None:
    options = [*ELASTIC[:-1], "0"]
    first = lose_node2(t, options)
    wait_for(lambda: len(t.worker_files(1)) == 2, "a round of one node", 20 * PATIENCE)
    again = t.agent("node2", options, log_name="node2-again")
    wait_for(lambda: any(n["name"] == "node2" and n["state"] != "gone" for n in t.status().nodes()),
             "node2 to be in again", 20 * PATIENCE)
    expect(again.is_running(), "node2 has left")
    t.go()
    first.expect(0)


# ---- the record ----

def test_events_are_kept(t: Case) -> None:
    t.serve()
    report = t.dir / "report.json"
    options = ["--nnodes", str(NODES), "--nproc-per-node", str(NPROC), "--max-restarts", "5",
               "--report", str(report), *SOON]
    agents = [t.agent("node1", options), t.agent("node2", options)]
    fail(t, 0, 1, 3)
    t.workers(ALL, 1)
    job = t.wait_state("running").job()
    begun = ["joined", "joined", "round", "worker_failed", "stopping", "restart", "round"]
    expect(kinds_of(job) == begun, f"events: {job.get('events')}")
    expect(job["events_dropped"] == 0, "dropped already")
    expect(job["events"][3]["node"] == "node1" and job["events"][3]["round"] == 1, str(job["events"][3]))
    expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["events"][0]["time"]), "no time")
    shown = subprocess.run([MUSTER, "status", f"127.0.0.1:{t.port}", "--events"], env=t.env, capture_output=True,
                           text=True, timeout=30, check=False)
    expect(re.search(r"^  \d\d:\d\d:\d\d\.\d{3}  round 1  restart       restart 1 of 5: rank 1 on node1 ",
                     shown.stdout, re.MULTILINE), f"status --events: {shown.stdout}")
    fail(t, 1, 1, 3)
    for agent in agents:
        agent.expect(3)
    last = json.loads(report.read_text())
    expect(kinds_of(last) == [*begun, "worker_failed", "stopping", "no_restart", "end"], f"report: {last.get('events')}")
    expect(last["not_restarted"].startswith("failed the same way twice"), str(last["not_restarted"]))


def test_refusals_and_losses_are_kept(t: Case) -> None:
    first = lose_node2(t, ELASTIC)
    wait_for(lambda: len(t.worker_files(1)) == 2, "a round of one node", 20 * PATIENCE)
    t.agent("node2", ELASTIC, log_name="node2-again").expect(1)
    events = t.status().job()["events"]
    kinds = [event["kind"] for event in events]
    for kind in ("node_lost", "go_on", "refused"):
        expect(kind in kinds, f"no event {kind}: {events}")
    lost = events[kinds.index("node_lost")]
    expect(lost["node"] == "node2" and "was lost" in lost["text"], str(lost))
    expect(REFUSED in events[kinds.index("refused")]["text"], str(events))
    t.go()
    first.expect(0)


# ---- wrong command lines ----

def test_wrong_codes(t: Case) -> None:
    for options, said in ((["--stop-exit-codes", "0"], "--stop-exit-codes: '0' is not a list of exit codes"),
                          (["--retry-exit-codes", "5-"], "--retry-exit-codes: '5-' is not a list of exit codes"),
                          (["--stop-exit-codes", "3-9", "--retry-exit-codes", "7"], "both have 7")):
        proc = t.run("run", *options, WORKER)
        proc.expect(2)
        expect(said in proc.err, f"{options}: not said: {said}")
