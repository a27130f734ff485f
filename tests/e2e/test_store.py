# SPDX-License-Identifier: Apache-2.0
"""The real torch client on `muster serve` and on PyTorch's own server: the same calls, in the same
run, must give the same results, errors and texts, at once, after the timeout, or when another acts.
The calls are in tests/compat/store_*.py."""
from __future__ import annotations

import json
from typing import Any

from muster import MUSTER, PATIENCE, ROOT, Case, expect
from procs import Proc
from test_torch import torch_python

LIMIT = 150
# RES_OPTIONS: torch asks the name server for the name of each peer, and waits if none answers.
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONDONTWRITEBYTECODE": "1", "RES_OPTIONS": "attempts:0"}
PROGRAM = str(ROOT / "tests/compat/store_program.py")

# Where muster differs on purpose: docs/PROTOCOL-c10d.md, "Limits" and "Differences".
# step: (what PyTorch's server makes of it, what muster makes of it, why)
LOST = "torch.distributed.DistNetworkError: (connection lost)"


def timed_out(keys: str) -> str:
    return f"torch.distributed.DistStoreError: wait timeout after 500ms, keys: {keys}"


DIFFERENCES: dict[str, tuple[Any, Any, str]] = {
    "limits: is the first pair stored?": (
        True, False, "a MULTI_SET that is refused must not have been applied in part"),
    "limits: and more than 64": (
        64 * 1024 * 1024 + 1, LOST, "a value that grows by appending has a limit, 64 MiB"),
    "where servers differ: compare_set that stores nothing": (
        None, timed_out("/c"), "who waits for a key is not told that it is there while it is not"),
    "where servers differ: non-empty queue and absent key": (
        timed_out("/q, /k"), None, "a queue that is not empty counts as present, as in CHECK"),
    "where servers differ: released by a push, waiting elsewhere, another push": (
        None, timed_out("/elsewhere"), "who was released is off the queue's list"),
}


def test_every_call_does_what_it_does_on_pytorchs_server(t: Case) -> None:
    python = torch_python()
    kinds = {kind: t.spawn(kind, [python, PROGRAM, kind, MUSTER], QUIET) for kind in ("torch", "muster")}
    for proc in kinds.values():
        proc.expect(0, 120 * PATIENCE)
    theirs, ours = (steps_of(kinds[kind]) for kind in ("torch", "muster"))
    for kind, last in (("torch", theirs.pop("")), ("muster", ours.pop(""))):
        missing = sorted(set(last["surface"]) - set(last["used"]))
        expect(not missing, f"torch's stores have what no case covers on {kind}: {' '.join(missing)}")
        known = {"TCPStore.get", "TCPStore(world_size)", "PrefixStore.clone", "PrefixStore(prefix)"}
        expect(known <= set(last["surface"]), f"a store's surface is more than {last['surface']}")
        expect("TCPStore.brand_new" in last["grown"], f"a new method would not be seen: {last['grown']}")
    expect(sorted(theirs) == sorted(ours), f"other steps: {set(theirs) ^ set(ours)}")
    expect(len(ours) >= 340, f"only {len(ours)} steps were compared")
    wrong = [line for label in ours for line in compare(label, theirs[label], ours[label])]
    wrong += [f"{label}: no step is called that" for label in DIFFERENCES if label not in ours]
    print(f"# {len(ours)} steps compared, {len(DIFFERENCES)} of them known to differ")
    expect(not wrong, f"{len(wrong)} of {len(ours)} differ:\n" + "\n".join(wrong))


def steps_of(proc: Proc) -> dict[str, dict[str, Any]]:
    return {step.get("label", ""): step for step in map(json.loads, proc.out.splitlines())}


def compare(label: str, theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    if label in DIFFERENCES:
        want_theirs, want_ours, why = DIFFERENCES[label]
        if (theirs["told"], ours["told"]) == (want_theirs, want_ours):
            return []
        why = f" (known to differ: {why})"
    elif theirs == ours and ours["when"] not in ("late", "too early"):
        return []
    else:
        why = ""
    return [f"  {label}{why}\n    PyTorch {theirs['when']}: {theirs['told']}\n    muster  {ours['when']}: {ours['told']}"]

