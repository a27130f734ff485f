# SPDX-License-Identifier: Apache-2.0
"""Three hosts with a network each (network namespaces): joining across them, and losing one."""
from __future__ import annotations

import re
import signal
import time

from hosts import Hosts
from muster import HELLO, PATIENCE, Case, expect, need_file

LIMIT = 90


def test_three_hosts_finish(t: Case) -> None:
    need_file(HELLO)
    for agent in Hosts(t).start(program=[HELLO]):
        agent.expect(0)


def test_master_addr_is_numeric_and_reachable(t: Case) -> None:
    agents = Hosts(t).start(endpoint="host1")
    workers = t.workers(24)
    t.go()
    for agent in agents:
        agent.expect(0)
    got = {(w.env["MASTER_ADDR"], w.env["MASTER_PORT"]) for w in workers.values()}
    expect(got == {("10.77.0.1", str(t.port))}, f"MASTER_ADDR, MASTER_PORT: {got}")


def test_started_in_any_order(t: Case) -> None:
    hosts = Hosts(t)
    agents = []
    for k in (3, 2, 1):  # the endpoint's host comes last
        agents.append(t.agent(f"node{k}", ["--nnodes", "3", "--nproc-per-node", "8"],
                              endpoint=f"10.77.0.1:{t.port}", wrapper=hosts.wrapper(k)))
    workers = t.workers(24)
    expect(all(w.node == rank // 8 for rank, w in workers.items()), "ranks do not follow the names")
    t.go()
    for agent in agents:
        agent.expect(0)


def test_silently_cut_host_is_named(t: Case) -> None:
    hosts = Hosts(t)
    agents = hosts.start(["--node-timeout", "2s"])
    workers = t.workers(24)
    hosts.fault(3, "cut")
    start = time.monotonic()
    for agent in agents[:2]:
        agent.expect(1, 12 * PATIENCE)
    took = time.monotonic() - start
    expect(took < 2 + 3 * PATIENCE, f"the others stopped after {took:.1f} s, node timeout 2 s")
    expect(re.search(r"node3.*(lost|heard|silent|gone)", agents[0].err), "the report does not name node3")
    agents[2].expect(1, 15 * PATIENCE)  # alone, it stops what is its own
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_cut_shorter_than_the_node_timeout_costs_nothing(t: Case) -> None:
    hosts = Hosts(t)
    agents = hosts.start(["--node-timeout", "20s"])
    workers = t.workers(24)
    hosts.fault(2, "cut")
    time.sleep(2)  # the length of the outage, not a wait for anything
    hosts.fault(2, "heal")
    t.go()
    for agent in agents:
        agent.expect(0, 40)
    expect(not t.worker_files(1) and len(workers) == 24, "the job was restarted")


def test_crashed_host_is_replaced(t: Case) -> None:
    hosts = Hosts(t)
    options = ["--node-timeout", "2s", "--max-restarts", "1", "--join-timeout", "40s"]
    agents = hosts.start(options)
    before = t.workers(24)
    hosts.fault(3, "crash")
    t.wait_gone([w.pid for w in before.values()], "the workers of the first round", 15)
    hosts.fault(3, "heal")
    again = t.agent("node3", ["--nnodes", "3", "--nproc-per-node", "8", *options], log_name="node3-again",
                    endpoint=f"10.77.0.1:{t.port}", wrapper=hosts.wrapper(3))
    after = t.workers(24, turn=1)
    expect(all(w.node == rank // 8 for rank, w in after.items()), "the nodes changed places")
    t.go()
    for agent in (agents[0], agents[1], again):
        agent.expect(0)


def test_agent_on_another_host_killed(t: Case) -> None:
    agents = Hosts(t).start()
    workers = t.workers(24)
    agents[2].signal(signal.SIGKILL)
    for agent in agents[:2]:
        agent.expect(1, 15 * PATIENCE)
    expect("node3" in agents[0].err, "the report does not name node3")
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_slow_lossy_network(t: Case) -> None:
    hosts = Hosts(t)
    hosts.fault(2, "delay", "50", "2")
    agents = hosts.start()
    t.workers(24)
    t.go()
    for agent in agents:
        agent.expect(0, 40)
