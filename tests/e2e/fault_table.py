# SPDX-License-Identifier: Apache-2.0
"""The fault matrix, declared: what happens to a job when this fault hits it in that phase.

fault_matrix.py carries it out, scripts/fault-table.py writes docs/FAULTS.md from it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

# ---- phases ----

PHASES = {
    "joining": "two nodes of three are in; the third comes when the fate of the fault is known",
    "running": "three nodes run; no restart is left",
    "spare": "three nodes run and a fourth stands by",
    "stopping": "a worker has failed with status 3; the others ignore SIGTERM until the grace time ends",
    "restarting": "the one restart has just been decided; the workers of the new round start",
}
SERVED = {False: "embedded", True: "stand-alone"}

# ---- faults ----


@dataclass(frozen=True)
class Fault:
    """`steps`, one after the other; the clock starts after the first:

    net X FAULT...     a fault of hosts.sh to the host of X
    kill, stop, cont X SIGKILL, SIGSTOP, SIGCONT to the process X
    start X            the coordinator once more
    clock SECONDS      the wall clock of the node jumps
    wait SECONDS       the length of the fault
    wait-noticed       until its consequence is there

    X: worker, node (its agent; the second node while joining, the third later), coordinator.
    """
    name: str
    kind: str  # one of KINDS
    steps: tuple[str, ...]
    node_timeout: float = 2
    slack: float = 0  # what the fault itself adds to every time, in seconds
    only_served: bool = False


KINDS = {
    "worker": "a worker dies",
    "node gone": "a node goes, and its connection is closed in order",
    "node silent": "a node is not heard of any more",
    "passing": "what passes within the node timeout",
    "coordinator gone": "the coordinator's process ends",
    "coordinator silent": "the coordinator is not heard of any more",
    "coordinator back": "the coordinator is there again within the node timeout",
}

_BACK = {"node_timeout": 6}
FAULTS = (
    Fault("worker killed", "worker", ("kill worker",)),
    Fault("agent killed", "node gone", ("kill node",)),
    Fault("agent stopped (SIGSTOP)", "node silent", ("stop node",)),
    Fault("agent stopped, continued in time", "passing", ("stop node", "wait 1.5", "cont node"), **_BACK),
    Fault("agent stopped, continued too late", "node silent", ("stop node", "wait-noticed", "cont node")),
    Fault("node cut off silently", "node silent", ("net node cut",)),
    Fault("node cut off, healed in time", "passing", ("net node cut", "wait 1.5", "net node heal"), **_BACK),
    Fault("node cut off, healed too late", "node silent", ("net node cut", "wait-noticed", "net node heal")),
    Fault("packets to a node lost", "node silent", ("net node cut-in",)),
    Fault("packets to a node lost, healed in time", "passing", ("net node cut-in", "wait 1.5", "net node heal"), **_BACK),
    Fault("packets from a node lost", "node silent", ("net node cut-out",)),
    Fault("packets from a node lost, healed in time", "passing", ("net node cut-out", "wait 1.5", "net node heal"), **_BACK),
    Fault("node without power", "node silent", ("net node crash",)),
    Fault("30 % of a node's packets lost", "passing", ("net node loss 30", "wait 3"), node_timeout=30, slack=35),
    Fault("500 ms of delay each way", "passing", ("net node delay 500", "wait 3"), node_timeout=6, slack=6),
    Fault("a node's clock set an hour ahead", "passing", ("clock 3600", "wait 1")),
    Fault("a node's clock set an hour back", "passing", ("clock -3600", "wait 1")),
    Fault("coordinator killed", "coordinator gone", ("kill coordinator",)),
    Fault("coordinator killed, restarted in time", "coordinator back",
          ("kill coordinator", "wait 0.5", "start coordinator"), only_served=True, **_BACK),
    Fault("coordinator killed, restarted too late", "coordinator gone",
          ("kill coordinator", "wait-noticed", "start coordinator"), only_served=True),
    Fault("coordinator stopped (SIGSTOP)", "coordinator silent", ("stop coordinator",)),
    Fault("coordinator stopped, continued in time", "passing", ("stop coordinator", "wait 1.5", "cont coordinator"), **_BACK),
    Fault("coordinator's node cut off silently", "coordinator silent", ("net coordinator cut",)),
    Fault("coordinator's node cut off, healed in time", "passing",
          ("net coordinator cut", "wait 1.5", "net coordinator heal"), **_BACK),
    Fault("coordinator's node without power", "coordinator silent", ("net coordinator crash",)),
)

# ---- outcomes ----


@dataclass(frozen=True)
class Outcome:
    """`what`: ends (with `status`, on every node that could be told), same (it goes on as if nothing
    had been), new (it goes on in a new round), forms (once another node has taken the place).
    `within`: the documented time, a sum of T (node timeout), G (grace), J (join timeout).
    `says`: what the report must contain."""
    what: str
    within: str = ""
    status: int = 0
    says: str = ""

    def text(self) -> str:
        words = {"ends": f"ends with {self.status}", "same": "goes on", "new": "new round",
                 "forms": "place is free again"}[self.what]
        return words if not self.within else f"{words}, {TIMES.get(self.within, self.within)}"


TIMES = {"0": "at once"}
GONE = r"node3 \(10\.77\.0\.3\).*lost"
WORKER = r"rank \d+ on node3 .*SIGKILL"
FIRST = r"rank 0 on node1 .*status 3"
COORDINATOR = r"coordinator"

_goes_on = Outcome("same")
_ends_3 = Outcome("ends", "G", 3, FIRST)


def _coordinator(within_embedded: str, within_served: str) -> dict[bool, Outcome]:
    return {False: Outcome("ends", within_embedded, 1, COORDINATOR),
            True: Outcome("ends", within_served, 1, COORDINATOR)}


def _both(outcome: Optional[Outcome]) -> dict[bool, Optional[Outcome]]:
    return {False: outcome, True: outcome}


# OUTCOMES[kind][phase][is the coordinator one of its own?]
OUTCOMES: dict[str, dict[str, dict[bool, Optional[Outcome]]]] = {
    "worker": {
        "joining": _both(None),  # there is none
        "running": _both(Outcome("ends", "0", 137, WORKER)),
        "spare": _both(Outcome("new", "0")),
        "stopping": _both(_ends_3),
        "restarting": _both(Outcome("ends", "0", 137, WORKER)),
    },
    "node gone": {
        "joining": _both(Outcome("forms", "0")),
        "running": _both(Outcome("ends", "0", 1, GONE)),
        "spare": _both(Outcome("new", "0")),
        "stopping": _both(_ends_3),
        "restarting": _both(Outcome("ends", "0", 1, GONE)),
    },
    "node silent": {
        "joining": _both(Outcome("ends", "J", 1, "gone: node2")),
        "running": _both(Outcome("ends", "T", 1, GONE)),
        "spare": _both(Outcome("new", "T + T/5")),
        "stopping": _both(_ends_3),
        "restarting": _both(Outcome("ends", "T", 1, GONE)),
    },
    "passing": {
        "joining": _both(_goes_on),
        "running": _both(_goes_on),
        "spare": _both(_goes_on),
        "stopping": _both(_ends_3),
        "restarting": _both(_goes_on),
    },
    "coordinator gone": {
        "joining": _coordinator("0", "T"),
        "running": _coordinator("0", "T"),
        "spare": _coordinator("0", "T"),
        "stopping": _coordinator("G", "G"),
        "restarting": _coordinator("0", "T"),
    },
    "coordinator silent": {
        "joining": _coordinator("T", "T"),
        "running": _coordinator("T", "T"),
        "spare": _coordinator("T", "T"),
        "stopping": _coordinator("G", "G"),
        "restarting": _coordinator("T", "T"),
    },
    "coordinator back": {
        "joining": {True: _goes_on},
        "running": {True: _goes_on},
        "spare": {True: _goes_on},
        "stopping": {True: _ends_3},
        "restarting": {True: _goes_on},
    },
}


def outcome_of(fault: Fault, phase: str, served: bool) -> Optional[Outcome]:
    """None: there is no such case."""
    if fault.only_served and not served:
        return None
    return OUTCOMES[fault.kind][phase][served]


def seconds(within: str, node_timeout: float, grace: float, join_timeout: float) -> float:
    """A documented time as a number."""
    value = {"0": 0.0, "T": node_timeout, "G": grace, "J": join_timeout, "T/5": node_timeout / 5}
    return sum(value[word] for word in within.split(" + ")) if within else 0.0


# ---- the tables ----

def table(served: bool, seen: dict[str, float]) -> str:
    """In Markdown; `seen` has seconds by "PHASE/FAULT/KIND OF COORDINATOR"."""
    lines = ["| | " + " | ".join(PHASES) + " |", "| --- |" + " --- |" * len(PHASES)]
    for fault in FAULTS:
        if fault.only_served and not served:
            continue
        cells = []
        for phase in PHASES:
            outcome = outcome_of(fault, phase, served)
            took = seen.get(f"{phase}/{fault.name}/{SERVED[served]}")
            text = outcome.text() if outcome else "-"
            cells.append(text if took is None else f"{text} ({took:.1f} s)")
        lines.append(f"| {fault.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
