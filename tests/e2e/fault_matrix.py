# SPDX-License-Identifier: Apache-2.0
"""Carries out the fault matrix of fault_table.py: every cell is a job of its own on hosts of its own.

MUSTER_FAULTS="cut embedded" only cells with these words in their names; MUSTER_FAULTS_JOBS=N cells
at a time; MUSTER_FAULTS_TORCH=all real torch workers in every phase.
"""
from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import time
import traceback
from pathlib import Path
from typing import Optional

from fault_table import FAULTS, PHASES, SERVED, Fault, Outcome, outcome_of, seconds
from hosts import Hosts
from muster import BUILD, MUSTER, PATIENCE, ROOT, WORKER, Case, Worker, expect
from procs import Failure, Proc, Skip, alive, describe, wait_for

GRACE, JOIN_TIMEOUT = 4.0, 10.0 * PATIENCE
MARGIN = 6.0 * PATIENCE  # what a loaded machine adds to a documented time
IMPORT = 20.0 * PATIENCE  # for new workers to import torch, before anything of them is seen
START = 30.0 * PATIENCE  # for everything that comes before the fault
SPARE_HOST, COORDINATOR_HOST = 4, 5
TORCH_WORKER = str(ROOT / "tests/compat/fault_worker.py")
WALL_CLOCK = str(BUILD / "fake/wall_clock.so")
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "cont": signal.SIGCONT}


class Cell:
    """One fault in one phase of one job."""

    def __init__(self, directory: Path, mark: str, phase: str, fault: Fault, served: bool,
                 python: Optional[str]) -> None:
        self.name = f"{phase}/{fault.name}/{SERVED[served]}"
        self.phase, self.fault, self.served, self.python = phase, fault, served, python
        self.case = Case(directory, mark)
        self.outcome: Outcome = outcome_of(fault, phase, served)  # type: ignore[assignment]
        self.nproc = 1 if python else 2
        self.victim = 2 if phase == "joining" else 3
        self.turn = 1 if phase == "restarting" else 0
        self.agents: dict[int, Proc] = {}
        self.lost: set[int] = set()  # nodes from which no good end is expected
        self.stopped: list[Proc] = []
        self.begun: list[Worker] = []  # every worker that was seen
        self.start = 0.0
        self.took: Optional[float] = None

    # ---- the job ----

    def launch(self, node: int, host: int, log_name: str = "") -> None:
        options = ["--nnodes", "3", "--nproc-per-node", str(self.nproc), "--node-timeout",
                   f"{self.fault.node_timeout}s", "--grace", f"{GRACE}s", "--join-timeout", f"{self.join_timeout}s",
                   "--max-restarts", "1" if self.phase in ("restarting", "spare") else "0"]
        program = [TORCH_WORKER] if self.python else [WORKER]
        if self.python:
            options += ["--python", self.python]
        if self.phase == "stopping":
            program.append("--ignore-term")
        env = {}
        if self.fault.steps[0].startswith("clock") and node == self.victim:
            env = {"LD_PRELOAD": WALL_CLOCK, "FAKE_WALL_CLOCK": str(self.case.dir / "clock")}
        self.agents[node] = self.case.agent(
            f"node{node}", options, program, endpoint=f"10.77.0.{self.coordinator_host}:{self.case.port}",
            plain=not self.python, wrapper=self.hosts.wrapper(host), env=env, log_name=log_name or None)

    @property
    def join_timeout(self) -> float:
        """Short where somebody waits for its end: a node that is cut off with its coordinator, for one."""
        return JOIN_TIMEOUT if self.fault.kind.endswith("silent") else 60 * PATIENCE

    def serve(self) -> None:
        name = "serve" if not hasattr(self, "coordinator") else "serve-again"
        self.coordinator = self.case.spawn(name, [
            *self.hosts.wrapper(COORDINATOR_HOST), MUSTER, "serve", "--listen", f"10.77.0.5:{self.case.port}"])
        self.case.wait_listening(self.coordinator)

    def workers(self, turn: int, count: int = 3) -> dict[int, Worker]:
        found = self.case.workers(count * self.nproc, turn, START / PATIENCE * (4 if self.python else 1))
        self.begun += found.values()
        return found

    def joined(self, count: int) -> bool:
        status = self.case.status(f"10.77.0.{self.coordinator_host}:{self.case.port}",
                                  self.hosts.wrapper(self.coordinator_host))
        return len(status.nodes(self.case.run_id)) == count

    def reach_phase(self) -> None:
        self.coordinator_host = COORDINATOR_HOST if self.served else 1
        if self.served:
            self.serve()
        for node in (1, 2) if self.phase == "joining" else (1, 2, 3):
            self.launch(node, node)
            if node == 1 and not self.served:
                self.coordinator = self.agents[1]
                self.case.wait_listening(self.coordinator)
        if self.phase == "joining":
            wait_for(lambda: self.joined(2), "two nodes to join", START, 0.1)
            return
        first = self.workers(0)
        if self.phase == "spare":
            self.launch(4, SPARE_HOST)
            self.agents[4].wait_err("stands by", START)
        elif self.phase in ("stopping", "restarting"):
            self.case.tell("exit.0.0", "3")
            if self.phase == "stopping":
                wait_for(lambda: all(self.case.signals_of(w) for w in first.values() if w.node == 2),
                         "SIGTERM at the third node's workers", START)
            else:
                self.coordinator.wait_err("restart 1 of 1", START)

    # ---- the fault ----

    def process(self, who: str) -> Proc:
        return self.coordinator if who == "coordinator" else self.agents[self.victim]

    def hit(self) -> None:
        """The steps up to `wait-noticed`, which the rest follows."""
        for step in self.fault.steps:
            verb, *words = step.split()
            if verb == "wait-noticed":
                break
            self.step(verb, words)
            self.start = self.start or time.monotonic()

    def hit_late(self) -> None:
        if "wait-noticed" in self.fault.steps:
            for step in self.fault.steps[self.fault.steps.index("wait-noticed") + 1:]:
                verb, *words = step.split()
                self.step(verb, words)

    def step(self, verb: str, words: list[str]) -> None:
        if verb == "wait":
            time.sleep(float(words[0]))  # the length of the fault, not a wait for anything
        elif verb == "clock":
            (self.case.dir / "clock").write_text(words[0])
        elif verb == "start":
            self.serve()
        elif verb == "net":
            host = self.coordinator_host if words[0] == "coordinator" else self.victim
            self.hosts.fault(host, *words[1:])
        elif words[0] == "worker":
            rank = self.victim * self.nproc - 1
            os.kill(self.workers(self.turn)[rank].pid, signal.SIGKILL)
        else:
            proc = self.process(words[0])
            proc.signal(SIGNALS[verb])
            if verb == "kill":
                proc.wait(10)
            elif verb == "stop":
                self.stopped.append(proc)
            else:
                self.stopped.remove(proc)

    # ---- what becomes of it ----

    def margin(self) -> float:
        return MARGIN + self.fault.slack + (IMPORT if self.python and self.outcome.what == "new" else 0)

    def expect_within(self, what: str) -> None:
        self.took = time.monotonic() - self.start
        bound = seconds(self.outcome.within, self.fault.node_timeout, GRACE, self.join_timeout)
        expect(self.took <= bound + self.margin(),
               f"{what} after {self.took:.1f} s; documented: {self.outcome.within} = {bound:.1f} s")

    def patience(self) -> float:
        bound = seconds(self.outcome.within, self.fault.node_timeout, GRACE, self.join_timeout)
        return bound + self.margin()

    def survivors(self) -> dict[int, Proc]:
        return {node: agent for node, agent in self.agents.items() if node not in self.lost}

    def expect_end(self, status: int) -> None:
        for agent in self.survivors().values():
            agent.expect(status, max(0.1, self.start + self.patience() - time.monotonic()))

    def check_ends(self) -> None:
        self.expect_end(self.outcome.status)
        self.expect_within("over")
        speakers = [agent for node, agent in sorted(self.survivors().items()) if node != 4]
        for agent in speakers if self.fault.kind.startswith("coordinator") else speakers[:1]:
            expect(re.search(self.outcome.says, agent.err), f"{agent.name} does not say /{self.outcome.says}/")

    def check_same(self) -> None:
        if self.phase == "joining":
            self.launch(3, 3)
        before = self.workers(self.turn)
        if self.fault.kind == "coordinator back":  # what is adopted must be known again
            wait_for(lambda: self.joined(len(self.agents)), "the nodes to come back", START, 0.1)
        expect(self.phase == "restarting" or all(alive(w.pid) for w in before.values()), "a worker is gone")
        self.case.go()
        self.start = time.monotonic()
        self.expect_end(0)
        self.took = None
        expect(not self.case.worker_files(self.turn + 1), "the workers were started again")

    def check_new(self) -> None:
        old = [w.pid for w in self.begun]
        wait_for(lambda: self.case.worker_files(self.turn + 1), "a new round", self.patience())
        overlap = [describe(pid) for pid in old if alive(pid)]
        expect(not overlap, f"workers of two rounds at once: {overlap}")
        self.expect_within("new round")
        self.workers(self.turn + 1)
        self.hit_late()
        self.case.go()
        self.start = time.monotonic()
        self.expect_end_of_new()

    def expect_end_of_new(self) -> None:
        for agent in self.survivors().values():
            agent.expect(0, MARGIN + self.fault.slack + 10)

    def check_place(self) -> None:
        """A node that is lost while the job forms: seen at once, and another may take its place."""
        self.coordinator.wait_err("left while the job was forming", self.patience())
        self.expect_within("noticed")
        self.hit_late()
        self.launch(3, 3)
        self.launch(2, SPARE_HOST, "node2-again")
        self.lost.discard(2)
        self.workers(0)
        self.case.go()
        for agent in self.survivors().values():
            agent.expect(0, START)

    def check(self) -> None:
        kind, what = self.fault.kind, self.outcome.what
        if kind in ("node gone", "node silent"):
            self.lost.add(self.victim)
        elif kind in ("coordinator gone", "coordinator silent") and not self.served:
            self.lost.add(1)
        if kind == "node silent" and self.phase == "joining":
            self.coordinator.wait_err("left while the job was forming", self.fault.node_timeout + MARGIN)
            self.launch(3, 3)
        {"ends": self.check_ends, "same": self.check_same, "new": self.check_new, "forms": self.check_place}[what]()
        if what == "ends":
            self.hit_late()

    def check_lost(self) -> None:
        """Nodes that nobody can reach stop by themselves; what a stopped agent leaves, its shepherd stops."""
        lease = 1.1 * self.fault.node_timeout + (GRACE if self.phase == "stopping" else 0) + MARGIN + self.fault.slack
        pids = [w.pid for w in self.begun]
        wait_for(lambda: not any(map(alive, pids)), "all workers to be gone, also where nobody is told", lease)
        for proc in list(self.stopped):
            proc.signal(signal.SIGCONT)
        for node in self.lost:
            self.agents[node].wait(lease + self.join_timeout)
            if self.outcome.what == "ends":
                expect(self.agents[node].popen.returncode != 0, f"node{node}, which was lost, ended with 0")

    def check_nothing_left(self) -> None:
        for proc in self.case.procs:
            if proc.name.startswith("serve") and proc.is_running():
                proc.signal(signal.SIGTERM)
                proc.expect(0, 10 * PATIENCE)
        left: list[int] = []

        def is_empty() -> bool:
            left[:] = [pid for k in range(1, self.hosts.count + 1) for pid in self.hosts.pids(k)]
            return not left
        try:
            wait_for(is_empty, "empty hosts", 5 * PATIENCE, 0.1)
        except Failure:
            raise Failure("left running: " + "; ".join(describe(pid) for pid in left)) from None

    def run(self) -> None:
        if self.fault.steps[0].startswith("clock") and BUILD.name in ("asan", "tsan"):
            raise Skip("a sanitizer wants to be preloaded first")
        try:
            self.hosts = Hosts(self.case, COORDINATOR_HOST)
            self.reach_phase()
            self.hit()
            self.check()
            self.check_lost()
            self.check_nothing_left()
        finally:
            for cleanup in reversed(self.case.cleanups):
                cleanup()

    def abandon(self) -> None:
        if hasattr(self, "hosts"):
            self.hosts.call("down")

    def story(self) -> str:
        """What the processes said, for a cell that failed."""
        lines = []
        for proc in self.case.procs:
            state = "running" if proc.is_running() else f"status {proc.popen.returncode}"
            lines.append(f"-- {proc.name} (pid {proc.pid}, {state})")
            lines += [f"   {line}" for line in proc.err.splitlines()[-15:]]
        return "\n".join(lines)


def wanted(name: str) -> bool:
    return all(word in name for word in os.environ.get("MUSTER_FAULTS", "").split())


def run_phase(t: Case, phase: str, python: Optional[str] = None) -> None:
    """Every cell of a phase, several at a time; one line each, and their times for docs/FAULTS.md."""
    assert phase in PHASES
    cells = []
    for served in (False, True):
        for fault in FAULTS:
            if outcome_of(fault, phase, served) and wanted(f"{phase}/{fault.name}/{SERVED[served]}"):
                directory = t.dir / f"{phase}{len(cells)}"
                directory.mkdir()
                cells.append(Cell(directory, t.mark, phase, fault, served, python))
    jobs = int(os.environ.get("MUSTER_FAULTS_JOBS", "4" if python else "12"))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            results = list(pool.map(attempt, cells))
        except KeyboardInterrupt:  # the time limit, or a person: what is under way ends with its hosts
            pool.shutdown(wait=False, cancel_futures=True)
            for cell in cells:
                cell.abandon()
            raise
    problems = [problem for problem in results if problem]
    seen = {cell.name: round(cell.took, 2) for cell, problem in zip(cells, results)
            if not problem and cell.took is not None}
    write_seen(f"{phase}{'-torch' if python else ''}", seen)
    print(f"{len(cells) - len(problems)} of {len(cells)} cells as documented")
    expect(not problems, "\n".join([f"{len(problems)} cells are not as documented", *problems]))


def attempt(cell: Cell) -> str:
    """Empty, or what went wrong."""
    begin, problem = time.monotonic(), ""
    try:
        cell.run()
    except Skip as skip:
        print(f"  skip {cell.name}: {skip}", flush=True)
        return ""
    except Failure as failure:
        line = next((f.lineno for f in reversed(traceback.extract_tb(failure.__traceback__))
                     if Path(f.filename).stem == "fault_matrix"), 0)
        problem = f"{cell.name}: {failure} (fault_matrix.py:{line})\n{cell.story()}"
    except Exception:  # a broken cell must not hide the others
        problem = f"{cell.name}: {traceback.format_exc()}\n{cell.story()}"
    took = "" if cell.took is None else f"; {cell.outcome.text()}: {cell.took:.1f} s"
    print(f"  {'FAIL' if problem else 'ok'} {cell.name} ({time.monotonic() - begin:.1f} s{took})", flush=True)
    return problem


def seen_path(name: str) -> Path:
    return ROOT / "build" / "faults" / f"{name}.json"


def write_seen(name: str, seen: dict[str, float]) -> None:
    path = seen_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(seen, indent=1, sort_keys=True))
