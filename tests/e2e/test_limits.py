# SPDX-License-Identifier: Apache-2.0
"""--limit: the resource limits of the workers, and what is said where they cannot be had."""
from __future__ import annotations

from muster import Case, expect

# Limits of whatever starts muster: soft and hard.
LOW = ["bash", "-c", 'ulimit -Sn 1024 && ulimit -Hn 4096 && ulimit -l 64 && exec "$@"', "bash"]
SHOW = ["sh", "-c", 'echo "$RANK $(ulimit -n) $(ulimit -H -n) $(ulimit -c) $(ulimit -l)"; sleep 0.2']


def limits_of(t: Case, agents: int, *options: str) -> list[str]:
    """What two workers of each node say of theirs: rank, nofile (soft, hard), core, memlock."""
    started = []
    for k in range(1, agents + 1):
        started.append(t.agent(f"node{k}", ["--nnodes", str(agents), "--nproc-per-node", "2", *options],
                               SHOW, wrapper=LOW))
        if k == 1 and agents > 1:
            t.wait_listening(started[0])
    for agent in started:
        agent.expect(0)
    return sorted(line for agent in started for line in agent.out.splitlines())


def test_limits_of_workers(t: Case) -> None:
    said = limits_of(t, 1, "--limit", "nofile=2K,core=0,memlock=hard")
    expect(said == ["0 2048 4096 0 64", "1 2048 4096 0 64"], said)
    expect("warn" not in t.procs[0].err, t.procs[0].err)


def test_without_it_workers_have_those_muster_was_started_with(t: Case) -> None:
    said = limits_of(t, 1, "--limit", "core=0")
    expect(said == ["0 1024 4096 0 64", "1 1024 4096 0 64"], f"muster's own limit was inherited: {said}")


def test_hard_limit_is_said_once_per_node(t: Case) -> None:
    said = limits_of(t, 2, "--limit", "core=0,memlock=unlimited,nofile=65536")
    expect(said == [f"{rank} 4096 4096 0 64" for rank in range(4)], said)
    for agent in t.procs:
        for claim in ("--limit memlock=unlimited: the hard limit on this node is 64K",
                      "--limit nofile=65536: the hard limit on this node is 4096"):
            lines = [line for line in agent.err.splitlines() if claim in line]
            expect(len(lines) == 1 and "warn" in lines[0] and agent.name in lines[0],
                   f"{agent.name} on {claim!r}: {agent.err}")


def test_bad_limits_are_usage_errors(t: Case) -> None:
    for text, words in (("vmem=1", "there is no limit 'vmem'"), ("core", "not NAME=VALUE"),
                        ("stack=8MB", "'8MB' is no value of stack"), ("as=1,as=2", "as is given twice")):
        refused = t.run("run", "--limit", text, "--no-python", "true")
        expect(refused.wait() == 2, f"{text}: status {refused.wait()}")
        expect(len(refused.err.splitlines()) == 1 and "--limit: " in refused.err and words in refused.err,
               f"{text}: {refused.err}")
