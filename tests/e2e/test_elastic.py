# SPDX-License-Identifier: Apache-2.0
"""Jobs whose nodes come and go: spares, bigger and smaller rounds, who has which ranks."""
from __future__ import annotations

import os
import signal
import sys
from typing import Optional, Sequence

from muster import PATIENCE, ROOT, WORKER, Case, Worker, expect
from procs import Proc, alive, wait_for
from test_torch import TORCH_TEARDOWN, torch_python

LIMIT = 180
NPROC = 2
STATEFUL = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
name = f"{os.environ['WORLD_SIZE']}.{os.environ['RANK']}.up"
open(os.path.join(os.environ["E2E_DIR"], name), "w").close()
while not os.path.exists(os.path.join(os.environ["E2E_DIR"], "go")):
    time.sleep(0.02)
"""


def start(t: Case, name: str, nnodes: str, options: Sequence[str] = (),
          program: Sequence[str] = (WORKER,), **keywords: object) -> Proc:
    """One agent, whose workers know by $WHERE on which node they are."""
    sizes = ["--nnodes", nnodes, "--nproc-per-node", str(NPROC)]
    return t.agent(name, [*sizes, *options], program, env={"WHERE": name}, **keywords)


def start_all(t: Case, names: Sequence[str], nnodes: str,
              options: Sequence[str] = ()) -> dict[str, Proc]:
    """The first one has the coordinator, and is there before the others."""
    agents = {names[0]: start(t, names[0], nnodes, options)}
    t.wait_listening(agents[names[0]])
    agents.update({name: start(t, name, nnodes, options) for name in names[1:]})
    return agents


def read(path: os.PathLike[str]) -> Worker:
    turn, rank = os.path.basename(path).split(".")[:2]
    with open(path, encoding="utf-8") as file:
        env = dict(line.rstrip("\n").split("=", 1) for line in file if not line.startswith("argv="))
    return Worker(int(turn), int(rank), int(env.pop("pid")), [], env)


def round_of(t: Case, places: Sequence[str],
             before: Optional[dict[int, Worker]] = None) -> dict[int, Worker]:
    """Waits for a round on just these nodes, in this order, with none of the workers of the one
    `before`; its workers by rank."""
    count = len(places) * NPROC
    old = {w.pid for w in (before or {}).values()}

    def running() -> dict[int, Worker]:
        workers = [read(path) for path in t.job_dir.glob("*.env")]
        found = {w.rank: w for w in workers if alive(w.pid) and w.pid not in old
                 and int(w.env["WORLD_SIZE"]) == count
                 and w.rank // NPROC < len(places) and w.env["WHERE"] == places[w.rank // NPROC]}
        living = sum(alive(w.pid) for w in workers)
        return found if len(found) == count == living else {}

    workers = wait_for(running, f"a round on {', '.join(places)}", 30 * PATIENCE)
    for worker in workers.values():
        expect(worker.node == worker.rank // NPROC, f"rank {worker.rank}: node {worker.node}")
    return workers


def restarts_of(workers: dict[int, Worker]) -> set[str]:
    return {worker.env["TORCHELASTIC_RESTART_COUNT"] for worker in workers.values()}


def finish(t: Case, agents: Sequence[Proc]) -> None:
    """All end well, and nobody reports a failure."""
    t.go()
    for agent in agents:
        agent.expect(0, 20 * PATIENCE)
        expect("failed" not in agent.err, f"{agent.name} speaks of a failure:\n{agent.err}")


def kill(agent: Proc) -> None:
    agent.signal(signal.SIGKILL)
    agent.expect(137)


# ---- bigger rounds ----

def test_scale_up_now(t: Case) -> None:
    options = ["--last-call", "1s"]
    agents = start_all(t, ["node1", "node2"], "2:4", options)
    round_of(t, ["node1", "node2"])
    agents["node3"] = start(t, "node3", "2:4", options)
    agents["node3"].wait_err("will be in a new round", 20 * PATIENCE)
    workers = round_of(t, ["node1", "node2", "node3"])
    expect(restarts_of(workers) == {"0"}, "a newcomer cost a restart")
    agents["node4"] = start(t, "node4", "2:4", ["--last-call", "1s"])
    workers = round_of(t, ["node1", "node2", "node3", "node4"])
    expect(restarts_of(workers) == {"0"}, "a newcomer cost a restart")
    agents["node1"].wait_err("node4 joined: a new round with 4 nodes instead of 3")
    status = t.status()
    expect(status.job()["restarts"] == 0 and status.job()["failure"] is None, status.text)
    finish(t, list(agents.values()))


def test_scale_up_ends_the_last_call_at_max(t: Case) -> None:
    options = ["--last-call", "2s"]
    agents = start_all(t, ["node1", "node2"], "2:3", options)
    round_of(t, ["node1", "node2"])
    agents["node3"] = start(t, "node3", "2:3", options)
    round_of(t, ["node1", "node2", "node3"])
    expect("will be in a new round" not in agents["node3"].err, "it was made to wait")
    finish(t, list(agents.values()))


def test_scale_up_next_restart(t: Case) -> None:
    options = ["--last-call", "0.5s", "--scale-up", "next-restart", "--max-restarts", "1"]
    agents = start_all(t, ["node1", "node2"], "2:3", options)
    first = round_of(t, ["node1", "node2"])
    agents["node3"] = start(t, "node3", "2:3", options)
    agents["node3"].wait_err("waits for its next round", 20 * PATIENCE)
    expect(t.status().node("node3")["state"] == "spare", "node3 is no spare")
    expect(all(alive(w.pid) for w in first.values()), "a newcomer has disturbed the round")
    t.tell("exit.0.0", "3")
    workers = round_of(t, ["node1", "node2", "node3"])
    expect(restarts_of(workers) == {"1"}, "the failure cost no restart")
    t.go()
    for agent in agents.values():
        agent.expect(0, 20 * PATIENCE)


def test_scale_up_never(t: Case) -> None:
    options = ["--last-call", "0.5s", "--scale-up", "never", "--max-restarts", "1"]
    agents = start_all(t, ["node1", "node2"], "2:3", options)
    first = round_of(t, ["node1", "node2"])
    agents["node3"] = start(t, "node3", "2:3", options)
    agents["node3"].wait_err("stands by to take the place of one", 20 * PATIENCE)
    t.tell("exit.0.0", "3")
    workers = round_of(t, ["node1", "node2"], first)
    expect(restarts_of(workers) == {"1"}, "the failure cost no restart")
    kill(agents.pop("node2"))
    round_of(t, ["node1", "node3"])
    t.go()
    for agent in agents.values():
        agent.expect(0, 20 * PATIENCE)


def test_ending_well_when_told_is_no_success(t: Case) -> None:
    program = [sys.executable, "-c", STATEFUL]
    options = ["--last-call", "0s"]
    agents = [start(t, "node1", "1:2", options, program)]
    t.wait_listening(agents[0])
    wait_for(lambda: len(list(t.job_dir.glob("2.*.up"))) == 2, "the workers of one node")
    agents.append(start(t, "node2", "1:2", options, program))
    wait_for(lambda: len(list(t.job_dir.glob("4.*.up"))) == 4, "the workers of two nodes",
             30 * PATIENCE)
    finish(t, agents)


def test_sigterm_while_a_bigger_round_forms(t: Case) -> None:
    program = [WORKER, "--ignore-term"]
    options = ["--last-call", "0s", "--grace", "2s"]
    agents = [start(t, "node1", "1:2", options, program)]
    t.wait_listening(agents[0])
    round_of(t, ["node1"])
    agents.append(start(t, "node2", "1:2", options, program))
    agents[0].wait_err("node2 joined: a new round with 2 nodes instead of 1")
    agents[0].signal(signal.SIGTERM)
    for agent in agents:
        agent.expect(143, 20 * PATIENCE)


# ---- smaller rounds ----

def test_goes_on_with_fewer(t: Case) -> None:
    agents = start_all(t, ["node1", "node2", "node3", "node4"], "2:4")
    round_of(t, ["node1", "node2", "node3", "node4"])
    kill(agents.pop("node4"))
    workers = round_of(t, ["node1", "node2", "node3"])
    expect(restarts_of(workers) == {"0"}, "going on with fewer nodes cost a restart")
    kill(agents.pop("node2"))
    round_of(t, ["node1", "node3"])  # the last moves into the hole
    t.go()
    for agent in agents.values():
        agent.expect(0, 20 * PATIENCE)


def test_below_min_waits_for_a_replacement(t: Case) -> None:
    options = ["--max-restarts", "1", "--last-call", "0s", "--join-timeout", "60s"]
    agents = start_all(t, ["node1", "node2"], "2:3", options)
    round_of(t, ["node1", "node2"])
    kill(agents.pop("node2"))
    agents["node1"].wait_err("waiting for 1 more", 30 * PATIENCE)
    agents["node3"] = start(t, "node3", "2:3", options)
    round_of(t, ["node1", "node3"])
    t.go()
    for agent in agents.values():
        agent.expect(0, 20 * PATIENCE)


def test_who_comes_back_has_its_place(t: Case) -> None:
    options = ["--max-restarts", "1", "--join-timeout", "60s", "--grace", "3s"]
    agents = start_all(t, ["node1", "node2", "node3"], "3", options)
    round_of(t, ["node1", "node2", "node3"])
    kill(agents["node2"])
    agents["node1"].wait_err("restart 1 of 1", 20 * PATIENCE)
    kill(agents["node3"])
    t.wait_state("forming")
    wait_for(lambda: t.status().job()["nodes_joined"] == 1, "node3 to be gone")
    agents["a"] = start(t, "a", "3", options)  # before node3 in any other order
    wait_for(lambda: t.status().job()["nodes_joined"] == 2, "a newcomer to be there")
    agents["node3 again"] = start(t, "node3", "3", options, log_name="node3-again")
    round_of(t, ["node1", "a", "node3"])
    t.go()
    for name in ("node1", "a", "node3 again"):
        agents[name].expect(0, 20 * PATIENCE)


# ---- spares ----

def test_spare_is_the_last_in_order(t: Case) -> None:
    options = ["--spares", "1", "--last-call", "60s"]
    agents = start_all(t, ["node1", "node4", "node3"], "3", options)
    wait_for(lambda: t.status().job().get("nodes_joined") == 3, "three to have joined")
    agents["node1"].wait_err("3/3 nodes and 0/1 spares joined", 20 * PATIENCE)
    expect(t.status().state() == "forming", "the job did not wait for its spare")
    agents["node2"] = start(t, "node2", "3", options)
    before = round_of(t, ["node1", "node2", "node3"])
    status = t.status()
    expect(status.node("node4")["state"] == "spare" and status.job()["spares"] == 1, status.text)
    kill(agents.pop("node2"))
    after = round_of(t, ["node1", "node4", "node3"])
    expect(restarts_of(after) == {"0"}, "a spare in its place cost a restart")
    same = sorted(r for r in before if before[r].env["WHERE"] == after[r].env["WHERE"])
    expect(same == [0, 1, 4, 5], f"the survivors' ranks are {same}")
    t.go()
    for agent in agents.values():
        agent.expect(0, 20 * PATIENCE)


def test_spares_do_not_come(t: Case) -> None:
    agents = start_all(t, ["node1", "node2"], "2", ["--spares", "2", "--last-call", "1s"])
    round_of(t, ["node1", "node2"])
    finish(t, list(agents.values()))


def test_lost_spare_disturbs_nobody(t: Case) -> None:
    agents = start_all(t, ["node1", "node2", "node3"], "2", ["--spares", "1"])
    workers = round_of(t, ["node1", "node2"])
    kill(agents.pop("node3"))
    agents["node1"].wait_err("node3 (127.0.0.1), which stood by, left")
    expect(all(alive(w.pid) for w in workers.values()), "a lost spare has ended workers")
    expect(t.status().job()["round"] == 1, "a lost spare has made a round")
    finish(t, list(agents.values()))


def test_one_too_many_stands_by(t: Case) -> None:
    agents = start_all(t, ["node1", "node2", "node3", "node4"], "4")
    round_of(t, ["node1", "node2", "node3", "node4"])
    agents["node0"] = start(t, "node0", "4")
    agents["node0"].wait_err("stands by to take the place of one", 20 * PATIENCE)
    finish(t, list(agents.values()))


# ---- real torch ----

def test_torch_goes_on_in_a_bigger_world(t: Case) -> None:
    python = torch_python()
    script = str(ROOT / "tests/compat/elastic_worker.py")
    options = ["--last-call", "0s", "--python", python]
    agents = [start(t, "node1", "1:2", options, [script, "4"], plain=False)]
    t.wait_listening(agents[0])
    wait_for(lambda: "world 2 sums up to 1" in agents[0].out, "the small world", 90 * PATIENCE)
    agents.append(start(t, "node2", "1:2", options, [script, "4"], plain=False))
    statuses = [agent.wait(120 * PATIENCE) for agent in agents]
    said = agents[0].out + agents[1].out
    for rank in range(4):
        expect(f"rank {rank}: world 4 sums up to 6" in said, f"rank {rank} has no sum:\n{said}")
    is_teardown = any(TORCH_TEARDOWN in agent.err for agent in agents)
    expect(not any(statuses) or is_teardown, f"exit statuses {statuses}")
