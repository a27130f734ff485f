# SPDX-License-Identifier: Apache-2.0
"""Each way to die, on 2 agents with 2 workers each: the first screen and the JSON report name the right
rank and the right cause. What the coordinator cannot see itself happens on node2."""
from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any, Optional, Sequence

from muster import MUSTER, PATIENCE, ROOT, Case, expect, need_root, need_tools
from procs import Proc, Skip, wait_for
from test_torch import torch_python

LIMIT = 300
PROGRAM = str(ROOT / "tests/e2e/deaths.py")
VICTIM = 3  # the second worker of node2


def start(t: Case, way: str, python: str = sys.executable, victim: int = VICTIM,
          wrapper: Sequence[str] = ()) -> list[Proc]:
    """node1 coordinates; node2 runs under `wrapper`. Both write a report."""
    sizes = ["--nnodes", "2", "--nproc-per-node", "2", "--python", python, "--grace", "5s"]
    env = {"E2E_VICTIM": str(victim), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    first = t.agent("node1", [*sizes, "--report", str(t.dir / "report1.json")], [PROGRAM, way],
                    plain=False, env=env)
    t.wait_listening(first)
    second = t.agent("node2", [*sizes, "--report", str(t.dir / "report2.json")], [PROGRAM, way],
                     plain=False, env=env, wrapper=wrapper)
    return [first, second]


def report_of(t: Case, node: int) -> dict[str, Any]:
    return json.loads((t.dir / f"report{node}.json").read_text())


def screen_of(agent: Proc) -> str:
    at = agent.err.find(" failed: ")
    expect(at >= 0, "there is no report")
    screen = agent.err[agent.err.rfind("\n", 0, at) + 1:]
    lines = screen.splitlines()
    expect(len(lines) <= 30, f"{len(lines)} lines")
    expect(all(len(line) <= 100 for line in lines[1:] if "/" not in line), f"wide lines in {screen}")
    return screen


def expect_death(t: Case, agents: list[Proc], status: int, cause: str, how: str, sentence: str,
                 victim: int = VICTIM) -> dict[str, Any]:
    """Everybody ends with `status`; the screen and both reports tell of the victim."""
    for agent in agents:
        agent.expect(status, 60 * PATIENCE)
    node, local = f"node{victim // 2 + 1}", victim % 2
    pid = (t.job_dir / f"up.{victim}").read_text() if (t.job_dir / f"up.{victim}").exists() else r"\d+"
    who = rf"rank {victim} on {node} \(local rank {local}, pid {pid}\) {how}"
    screen = screen_of(agents[0])
    expect(re.search(who, screen), f"no /{who}/ in {screen}")
    text = re.sub(r"\n +", " ", screen)  # what was folded
    expect(re.search(rf"  cause     .*?{sentence}", screen, re.S) or re.search(rf"cause .*{sentence}", text),
           f"no /{sentence}/ in {screen}")
    line = next((line for line in agents[1].err.splitlines() if " failed: " in line), "")
    expect(re.search(who, line) and re.search(sentence, line), f"node2 says {line!r}")
    expect("  cause " not in agents[1].err, "node2 prints a screen too")
    report = report_of(t, 1)
    expect(report == report_of(t, 2), "the two reports differ")
    failure = report["failure"]
    expect(report["report_format"] == 1 and report["state"] == "failed", f"report: {report}")
    expect(report["exit_status"] == status and report["run_id"] == t.run_id, f"report: {report}")
    got = {key: failure[key] for key in ("kind", "node", "rank", "local_rank", "cause")}
    want = {"kind": "worker", "node": node, "rank": victim, "local_rank": local, "cause": cause}
    expect(got == want, f"{got}, not {want}")
    expect(re.search(sentence, failure["cause_text"] or ""), f"cause_text: {failure['cause_text']}")
    expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", failure["time"]), f"time {failure['time']}")
    return failure


# ---- one of each ----

def test_exit_status(t: Case) -> None:
    failure = expect_death(t, start(t, "exit"), 3, "exit", "exited with status 3", "no data left to train on")
    expect(failure["exit_status"] == 3 and failure["signal"] is None, f"{failure}")
    expect(failure["stopped"] == 3 and failure["collateral"] == 0, f"{failure}")


def test_segmentation_fault(t: Case) -> None:
    failure = expect_death(t, start(t, "segv"), 139, "segfault", r"killed by SIGSEGV \(signal 11",
                           r"Fatal Python error: Segmentation fault, in File .* in string_at")
    expect(failure["signal"] == 11, f"{failure}")
    expect(failure["quote"].startswith("Fatal Python error"), failure["quote"])


def test_core(t: Case) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern or "%" in pattern.replace("%p", ""):
        raise Skip(f"cores do not go to the working directory here: {pattern}")
    failure = expect_death(t, start(t, "core"), 139, "segfault", r"killed by SIGSEGV \(signal 11, core dumped\)",
                           "core dumped to ")
    expect(failure["core_dumped"] is True, f"{failure}")
    path = Path(re.search(r"core dumped to (\S+)", failure["cause_text"]).group(1))
    expect(path.exists(), f"no {path}")


def test_sigkill(t: Case) -> None:
    expect_death(t, start(t, "kill"), 137, "signal", r"killed by SIGKILL \(signal 9\)",
                 "killed by SIGKILL, not by muster; the kernel counted no OOM kill")


def test_sigterm_of_somebody_else(t: Case) -> None:
    expect_death(t, start(t, "term"), 143, "signal", "killed by SIGTERM",
                 "killed by SIGTERM, which muster did not send")


def memory_cgroup(t: Case, limit: int) -> Path:
    """A cgroup of either version whose memory is limited, below the one this process is in."""
    need_root()
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    v1 = next((path for _, names, path in lines if "memory" in names.split(",")), None)
    v2 = next((path for number, _, path in lines if number == "0"), "/")
    parent, name = (Path("/sys/fs/cgroup/memory" + v1), "memory.limit_in_bytes") if v1 is not None else (
        Path("/sys/fs/cgroup" + v2), "memory.max")
    group = parent / f"e2e-{t.mark}"
    try:
        group.mkdir()
        t.cleanups.append(group.rmdir)
        (group / name).write_text(str(limit))
    except OSError as error:
        raise Skip(f"no cgroup whose memory can be limited: {error}") from None
    return group


def test_oom_kill(t: Case) -> None:
    group = memory_cgroup(t, 100 << 20)
    agents = start(t, "memory", wrapper=["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"])
    expect_death(t, agents, 137, "oom_kill", "killed by SIGKILL",
                 rf"out of memory: the kernel's OOM killer killed it; its cgroup .*/{group.name} may use 0.1 GiB")


def test_oom_kill_in_cgroup_2(t: Case) -> None:
    """In a kernel of its own (user-mode Linux), whose cgroups can be had in version 2."""
    need_root()
    need_tools("linux.uml")
    run = (f"{MUSTER} run --nnodes 2 --nproc-per-node 2 --rdzv-endpoint 127.0.0.1:29500 --rdzv-id {t.run_id} "
           f"--python {sys.executable} --report")
    script = t.dir / "init.sh"
    script.write_text(f"""#!/bin/sh
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        ip link set lo up
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/job
        echo 60M >/sys/fs/cgroup/job/memory.max
        export E2E_VICTIM=3 E2E_DIR={t.job_dir} TMPDIR={t.dir}
        {run} {t.dir}/report1.json --node-name node1 {PROGRAM} memory 2>{t.dir}/node1.err &
        until {MUSTER} status 127.0.0.1:29500 >/dev/null 2>&1 || [ $? != 3 ]; do sleep 0.1; done
        (echo $(sh -c 'echo $PPID') >/sys/fs/cgroup/job/cgroup.procs
         exec {run} {t.dir}/report2.json --node-name node2 {PROGRAM} memory 2>{t.dir}/node2.err)
        wait
        halt -f
        """)
    script.chmod(0o755)
    uml = t.spawn("uml", ["linux.uml", "mem=512M", "rootfstype=hostfs", "rootflags=/", "rw", "quiet",
                          "con=null", "con0=null,fd:1", f"init={script}"], {"TMPDIR": "/tmp"})
    uml.wait(100 * PATIENCE)
    screen = (t.dir / "node1.err").read_text()
    expect(re.search(r"rank 3 on node2 .* killed by SIGKILL", screen), f"the screen: {screen} {uml.out[-2000:]}")
    expect("out of memory: the kernel's OOM killer killed it; its cgroup /job may use 0.1 GiB" in
           re.sub(r"\n +", " ", screen), f"the screen: {screen}")
    failure = report_of(t, 2)["failure"]
    expect(failure["cause"] == "oom_kill" and failure["rank"] == 3, f"{failure}")


def test_not_executed(t: Case) -> None:
    sizes = ["--nnodes", "2", "--nproc-per-node", "2"]
    first = t.agent("node1", [*sizes, "--report", str(t.dir / "report1.json")])
    t.wait_listening(first)
    second = t.agent("node2", [*sizes, "--report", str(t.dir / "report2.json")], ["/no/such/program"])
    failure = expect_death(t, [first, second], 127, "exec", "program not found",
                           "program '/no/such/program' does not exist", victim=2)
    expect(failure["hint"] == "is it on that node, under the same path?", f"{failure['hint']}")


def test_exception(t: Case) -> None:
    agents = start(t, "exception")
    failure = expect_death(t, agents, 1, "exception", "exited with status 1",
                           r"ValueError: the learning rate is a banana \(from KeyError: 'lr'\)")
    screen = screen_of(agents[0])
    expect("    | ValueError: the learning rate is a banana\n" in screen, f"no quote in {screen}")
    expect("noise after it" not in screen, f"noise in {screen}")
    expect("noise after it" in failure["stderr_tail"], f"{failure['stderr_tail']}")


def test_exception_that_much_was_said_after(t: Case) -> None:
    """A message of a megabyte, and 240 KB of others' words after it; on the console and in a file."""
    agents = start(t, "wordy")
    expect_death(t, agents, 1, "exception", "exited with status 1", "ValueError: the learning rate is a banana")
    expect("    | ValueError: the learning rate is a banana" in screen_of(agents[0]), "no quote")
    alone = t.run("run", "--python", sys.executable, "--redirects", "2", PROGRAM, "wordy",
                  env={"E2E_VICTIM": "0"})
    alone.expect(1)
    expect("  cause     ValueError: the learning rate is a banana" in alone.err, f"{alone.err[-2000:]}")


def test_exception_that_was_survived(t: Case) -> None:
    expect_death(t, start(t, "survived"), 1, "exit", "exited with status 1",
                 "last line: the loss is no number; it had reported and survived KeyError: 'no cache'")


def test_failed_import(t: Case) -> None:
    failure = expect_death(t, start(t, "import"), 1, "import", "exited with status 1",
                           "ModuleNotFoundError: No module named 'no_such_module_of_ours'")
    expect(sys.executable in failure["hint"], f"{failure['hint']}")


def test_recorded_exception(t: Case) -> None:
    agents = start(t, "record", python=torch_python())
    failure = expect_death(t, agents, 1, "exception", "exited with status 1",
                           "ValueError: recorded: the learning rate is a banana")
    written = json.loads(Path(failure["error_file"]).read_text())
    expect(written["message"]["message"] == failure["message"], f"{written}")
    expect(f"  error     {failure['error_file']}\n" in screen_of(agents[0]), "the screen lacks the path")


def test_exception_in_a_thread(t: Case) -> None:
    expect_death(t, start(t, "thread"), 4, "thread_exception", "exited with status 4",
                 r"in thread prefetch \(<lambda>\): ZeroDivisionError|in thread prefetch: ZeroDivisionError")


def test_abort(t: Case) -> None:
    expect_death(t, start(t, "abort"), 134, "abort", "killed by SIGABRT", "the tokenizer is gone")


def test_stack_overflow(t: Case) -> None:
    expect_death(t, start(t, "overflow"), 139, "stack_overflow", "killed by SIGSEGV",
                 "Fatal Python error: Segmentation fault.*endless recursion, most likely")


def test_bus_error(t: Case) -> None:
    expect_death(t, start(t, "bus"), 135, "bus_error", "killed by SIGBUS", "bus error")


def test_full_shared_memory(t: Case) -> None:
    need_root()
    need_tools("unshare", "mount")
    small = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    failure = expect_death(t, start(t, "shm", wrapper=["unshare", "--mount", "sh", "-c", small, "sh"]), 135,
                           "shm_full", "killed by SIGBUS", "bus error; /dev/shm is 100 % full")
    expect("--shm-size" in failure["hint"], f"{failure['hint']}")


def test_interrupt_of_one_worker(t: Case) -> None:
    expect_death(t, start(t, "interrupt"), 130, "interrupt", "killed by SIGINT", "KeyboardInterrupt")


def test_ctrl_c(t: Case) -> None:
    agents = start(t, "none", victim=99)
    wait_for(lambda: len(list(t.job_dir.glob("up.*"))) == 4, "all workers", 30 * PATIENCE)
    agents[1].signal(signal.SIGINT)
    for node, agent in enumerate(agents, 1):
        agent.expect(130, 30 * PATIENCE)
        expect("was stopped by SIGINT on node2" in agent.err, f"node{node}: {agent.err}")
        report = report_of(t, node)
        expect(report["state"] == "stopped" and report["failure"] is None, f"{report}")
        expect(report["exit_status"] == 130 and "SIGINT on node2" in report["summary"], f"{report}")


def test_lost_node(t: Case) -> None:
    agents = start(t, "none", victim=99)
    wait_for(lambda: len(list(t.job_dir.glob("up.*"))) == 4, "all workers", 30 * PATIENCE)
    agents[1].signal(signal.SIGKILL)
    agents[0].expect(1, 30 * PATIENCE)
    expect(re.search(r"failed: node node2 \(127.0.0.1\) was lost: ", screen_of(agents[0])), "node2 is not named")
    failure = report_of(t, 1)["failure"]
    expect((failure["kind"], failure["node"], failure["cause"]) == ("node", "node2", "node_lost"), f"{failure}")


def test_success_has_a_report(t: Case) -> None:
    files = [t.dir / f"report{node}.json" for node in (1, 2)]
    first = t.agent("node1", ["--nnodes", "2", "--report", str(files[0])], ["true"])
    t.wait_listening(first)
    second = t.agent("node2", ["--nnodes", "2", "--report", str(files[1])], ["true"])
    for agent, file in ((first, files[0]), (second, files[1])):
        agent.expect(0)
        report = json.loads(file.read_text())
        expect(report["state"] == "succeeded" and report["exit_status"] == 0, f"{report}")
        expect(report["failure"] is None and report["world_size"] == 2, f"{report}")


def test_report_that_cannot_be_written(t: Case) -> None:
    agent = t.run("run", "--report", "/no/such/directory/r.json", "--no-python", "true")
    agent.expect(0)
    expect("no report (--report): create /no/such/directory/r.json" in agent.err, agent.err)


def test_report_of_an_agent_that_was_cut_off(t: Case) -> None:
    file = t.dir / "report1.json"
    agent = t.agent("node1", ["--nnodes", "2", "--report", str(file), "--join-timeout", "0.5s"],
                    endpoint="192.0.2.1:29500")
    agent.expect(1, 30 * PATIENCE)
    report = json.loads(file.read_text())
    expect(report["state"] == "failed" and "could not reach" in report["summary"], f"{report}")


# ---- what peers die of is not the cause ----

def gloo_death(t: Case, way: str) -> tuple[list[Proc], dict[str, Any]]:
    agents = start(t, way, python=torch_python(), victim=2)
    for agent in agents:
        agent.wait(90 * PATIENCE)
    return agents, report_of(t, 1)["failure"]


def test_peers_of_a_killed_rank(t: Case) -> None:
    agents, failure = gloo_death(t, "gloo-kill")
    expect(failure["rank"] == 2 and failure["cause"] == "signal", f"{failure}")
    expect("rank 2 on node2" in screen_of(agents[0]), "rank 2 is not named")
    expect(failure["collateral_causes"].get("peer_lost", 0) >= 1, f"{failure['collateral_causes']}")
    expect("connection to a peer lost (" in screen_of(agents[0]), "the peers are not counted")
    agents[0].expect(137)


def test_peers_of_a_rank_with_an_exception(t: Case) -> None:
    agents, failure = gloo_death(t, "gloo-raise")
    expect(failure["rank"] == 2 and failure["cause"] == "exception", f"{failure}")
    expect("the loss is a pear" in screen_of(agents[0]), "the exception is not named")
    agents[0].expect(1)


def test_peers_of_a_lost_node(t: Case) -> None:
    agents = start(t, "gloo-none", python=torch_python(), victim=99)
    wait_for(lambda: len(list(t.job_dir.glob("peer.*"))) == 4, "all ranks to compute", 60 * PATIENCE)
    agents[1].signal(signal.SIGKILL)
    agents[0].expect(1, 60 * PATIENCE)
    expect("failed: node node2 (127.0.0.1) was lost" in screen_of(agents[0]), "node2 is not named")
    failure = report_of(t, 1)["failure"]
    expect(failure["kind"] == "node" and failure["collateral_causes"].get("peer_lost") == 2, f"{failure}")


# ---- whoever has started the agent ----

def nested(t: Case, way: str, python: str, status: int) -> Optional[dict[str, Any]]:
    """What agents leave in TORCHELASTIC_ERROR_FILE: node2's, with the culprit; node1's."""
    sizes = ["--nnodes", "2", "--nproc-per-node", "2", "--python", python]
    files = [t.dir / f"nested{node}.json" for node in (1, 2)]
    env = {"E2E_VICTIM": str(VICTIM)}
    first = t.agent("node1", sizes, [PROGRAM, way], plain=False,
                    env={**env, "TORCHELASTIC_ERROR_FILE": str(files[0])})
    t.wait_listening(first)
    second = t.agent("node2", sizes, [PROGRAM, way], plain=False,
                     env={**env, "TORCHELASTIC_ERROR_FILE": str(files[1])})
    for agent in (first, second):
        agent.expect(status, 60 * PATIENCE)
    expect(not files[0].exists(), "node1 claims the failure of node2")
    return json.loads(files[1].read_text())["message"]


def test_error_file_is_passed_on(t: Case) -> None:
    message = nested(t, "record", torch_python(), 1)
    expect(message["message"] == "ValueError: recorded: the learning rate is a banana", f"{message}")
    expect(message["errorCode"] == 1 and "Traceback" in message["extraInfo"]["py_callstack"], f"{message}")


def test_error_file_is_made(t: Case) -> None:
    message = nested(t, "kill", sys.executable, 137)
    expect("killed by SIGKILL" in message["message"] and message["errorCode"] == -9, f"{message}")
    expect(int(message["extraInfo"]["timestamp"]) > 1700000000, f"{message}")


ODD = """
import os, sys
path = os.environ["TORCHELASTIC_ERROR_FILE"]
if sys.argv[1] == "fifo": os.mkfifo(path)
elif sys.argv[1] == "huge":
    with open(path, "wb") as f: f.truncate(100 << 20)
elif sys.argv[1] == "link": os.symlink("/dev/zero", path)
else: open(path, "w").write(sys.argv[1])
raise ValueError("as usual")
"""


def test_odd_error_files(t: Case) -> None:
    (t.dir / "odd.py").write_text(ODD)
    for text in ("", "[]", "{}", '{"message": 7}', '"x"', "[" * 100000, "fifo", "huge", "link"):
        agent = t.run("run", "--python", sys.executable, "odd.py", text)
        agent.expect(1)
        expect("  cause     ValueError: as usual\n" in agent.err, f"{text[:20]!r}: {agent.err[-2000:]}")
