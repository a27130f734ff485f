# SPDX-License-Identifier: Apache-2.0
"""Real PyTorch: torch.distributed over muster's store, gloo, 24 ranks."""
from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Callable

from hosts import Hosts
from muster import ROOT, Case, expect, need_file
from procs import Proc, Skip, alive, marked, wait_for

LIMIT = 300
SCRIPT = str(ROOT / "examples/train_ddp.py")


def torch_python() -> str:
    """A Python that has torch; skips with the reason if there is none."""
    candidates = [os.environ.get("MUSTER_TORCH_PYTHON", ""), str(ROOT / "build/venv/bin/python")]
    for python in candidates:
        if python and os.access(python, os.X_OK):
            probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"],
                                   capture_output=True, text=True, timeout=120, check=False)
            if probe.returncode == 0:
                return python
    reason = ROOT / "build/venv.reason"
    raise Skip("no Python with torch: " + (reason.read_text().strip() if reason.exists()
                                           else "scripts/venv.sh makes one"))


def losses(agents: list[Proc]) -> dict[int, str]:
    found = {}
    for agent in agents:
        found.update({int(r): loss for r, loss in re.findall(r"rank (\d+) final loss (\S+)", agent.out)})
    return found


def train(t: Case, nproc: int, options: list[str], arguments: list[str]) -> list[Proc]:
    need_file(SCRIPT)
    python = torch_python()
    return t.agents(3, nproc, ["--python", python, *options], [SCRIPT, *arguments], plain=False)


def expect_agreement(agents: list[Proc], count: int) -> None:
    found = losses(agents)
    expect(sorted(found) == list(range(count)), f"{len(found)} of {count} ranks printed a loss: {sorted(found)}")
    expect(len(set(found.values())) == 1, f"the ranks disagree: {found}")


# torch 2.13's own words when a thread of its is still there while the interpreter exits, after
# everything was computed and printed: one process in some 40 to 300, under torchrun as well.
TORCH_TEARDOWN = "terminate called without an active exception"


def end_well(start: Callable[[], list[Proc]]) -> list[Proc]:
    """All agents end with 0. A crash of torch's own at the very end, which muster rightly reports
    as a failure, is said and gets two more tries."""
    for _ in range(2):
        agents = start()
        statuses = [agent.wait(200) for agent in agents]
        if not any(statuses) or not any(TORCH_TEARDOWN in agent.err for agent in agents):
            break
        print(f"# a rank died in torch's teardown ({TORCH_TEARDOWN!r}); once more", flush=True)
    else:
        agents = start()
    for agent in agents:
        agent.expect(0, 200)
    return agents


def expect_24_agree(start: Callable[[], list[Proc]]) -> None:
    """All ranks print the same loss."""
    expect_agreement(end_well(start), 24)


def test_24_ranks_agree(t: Case) -> None:
    expect_24_agree(lambda: train(t, 8, [], ["--steps", "3"]))


def test_24_ranks_agree_across_three_hosts(t: Case) -> None:
    hosts = Hosts(t)
    options = ["--python", torch_python()]
    expect_24_agree(lambda: hosts.start(options, [SCRIPT, "--steps", "3"], endpoint="host1",
                                        plain=False))


def process_of(t: Case, rank: int) -> int:
    """The pid of a rank's process once it has a socket, that is, once it talks to the others."""
    for pid in marked(t.mark):
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        if f"RANK={rank}".encode() in environ and b"train_ddp" in command and any(
                link.startswith("socket:") for link in links):
            return pid
    return 0


def test_killed_rank_is_survived_by_a_restart(t: Case) -> None:
    agents = train(t, 4, ["--max-restarts", "1"], ["--steps", "5", "--step-seconds", "0.2"])
    victim = wait_for(lambda: process_of(t, 7), "rank 7 to talk to the others", 120)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not alive(victim), "rank 7 to die")
    for agent in agents:
        agent.expect(0, 240)
    expect_agreement(agents, 12)
