# SPDX-License-Identifier: Apache-2.0
"""Programs of others as they are installed, without a change: Hugging Face accelerate's own tests of
a distributed environment, on CPU."""
from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from muster import ROOT, Case, expect
from procs import Skip
from test_torch import end_well, torch_python

LIMIT = 240
SCRIPTS = "accelerate.test_utils.scripts."
# Without it accelerate looks for GPUs, finds none, and tests single processes.
ON_CPU = {"ACCELERATE_USE_CPU": "true"}


def accelerate_python() -> str:
    """The Python with torch, if accelerate is in there too; skips with the reason if it is not."""
    python = torch_python()
    places = [str(p) for p in Path(python).parent.parent.glob("lib/python*/site-packages")]
    if list(importlib.metadata.distributions(name="accelerate", path=places)):
        return python
    reason = ROOT / "build/venv.accelerate.reason"
    raise Skip("no accelerate: " + (reason.read_text().strip() if reason.exists()
                                    else "scripts/venv.sh installs it"))


def run_script(t: Case, script: str, nodes: int, nproc: int) -> str:
    """What the ranks of accelerate's script print, once all agents have ended well."""
    agents = end_well(lambda: t.agents(nodes, nproc, ["--python", accelerate_python(), "--module"],
                                       [SCRIPTS + script], plain=False, env=ON_CPU))
    return "".join(agent.out for agent in agents)


def expect_environment(text: str, ranks: int) -> None:
    """Each rank printed where it finds itself: all ranks are there, and none fell back to being alone."""
    for rank in range(ranks):
        expect(f"Process index: {rank}\n" in text, f"rank {rank} did not print where it is")
    # After a try that torch's teardown spoilt the text is of both: what is said counts, not how often.
    worlds = set(re.findall(r"^Num processes: (\d+)$", text, re.MULTILINE))
    expect(worlds == {str(ranks)}, f"not every rank is one of {ranks}: {worlds}, {text[:600]}")
    kinds = set(re.findall(r"DistributedType\.(\w+)", text))
    expect(kinds == {"MULTI_CPU"}, f"not every rank is distributed: {kinds}, {text[:600]}")


def test_accelerate_script(t: Case) -> None:
    expect_environment(run_script(t, "test_script", 1, 2), 2)


def test_accelerate_script_on_two_nodes(t: Case) -> None:
    expect_environment(run_script(t, "test_script", 2, 1), 2)


def test_accelerate_gradient_synchronization(t: Case) -> None:
    text = run_script(t, "test_sync", 1, 2)
    # It tests more with more than one process; this one only then.
    expect("**Test Distributed `no_sync` context manager**" in text, f"the ranks were alone: {text[:600]}")
