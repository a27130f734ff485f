# SPDX-License-Identifier: Apache-2.0
"""Compares what was seen of one command under two launchers."""
from __future__ import annotations

import sys
from typing import Any

from muster import ROOT

sys.path.insert(0, str(ROOT / "tests/compat"))
from torchrun_cases import Command  # noqa: E402
from torchrun_differences import DIFFERENCES, ORDINARY  # noqa: E402

Outcome = dict[str, Any]


def half_seen(theirs: Outcome, ours: Outcome) -> list[str]:
    """The workers that ran under one launcher alone: one difference each, not fifty."""
    ran = {key for key in {*theirs, *ours} if key.endswith(": ran")}
    return [key[:-len("ran")] for key in ran if not (key in theirs and key in ours)]


def differing(theirs: Outcome, ours: Outcome) -> dict[str, tuple[Any, Any]]:
    alone = tuple(half_seen(theirs, ours))
    found = {}
    for key in sorted({*theirs, *ours}):
        if key.startswith(alone) and not key.endswith(": ran"):
            continue
        if "says on err" in key and not (key in theirs and key in ours):
            continue
        if theirs.get(key) != ours.get(key):
            found[key] = (theirs.get(key), ours.get(key))
    return found


def judge(command: Command, theirs: Outcome, ours: Outcome) -> list[str]:
    """What is wrong, one text each: differences that are not listed, listed ones that do not show."""
    listed = set(command.differs.split())
    wrong = [f"no such difference: {name}" for name in sorted(listed - DIFFERENCES.keys())]
    shown: set[str] = set()
    for key, (t, m) in differing(theirs, ours).items():
        fitting = [name for name in (*sorted(listed), *sorted(ORDINARY))
                   if name in DIFFERENCES and DIFFERENCES[name](key, t, m)]
        if fitting:
            shown.add(fitting[0])
        else:
            wrong.append(f"{key}: torchrun {t!r}, muster {m!r}")
    return wrong + [f"expected '{name}', which did not show"
                    for name in sorted(listed & DIFFERENCES.keys() - shown)]
