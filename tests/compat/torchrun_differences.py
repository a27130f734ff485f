# SPDX-License-Identifier: Apache-2.0
"""How muster differs from torchrun on purpose. docs/TORCHRUN.md says why, one row for each id.

A difference is a function: given what was seen under one key with torchrun and with muster (None:
nothing), is this it? The keys are those of tests/e2e/torchrun_outcome.py.
"""
from __future__ import annotations

import re
from typing import Any, Callable

Claim = Callable[[str, Any, Any], bool]


def key_is(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda key: compiled.search(key) is not None


def seen(pattern: str, theirs: Any = ..., ours: Any = ...) -> Claim:
    """The key matches, and so do the values where they are given (a set: one of them)."""
    is_key = key_is(pattern)

    def fits(expected: Any, value: Any) -> bool:
        return expected is ... or value in (expected if isinstance(expected, set) else [expected])
    return lambda key, t, m: is_key(key) and fits(theirs, t) and fits(ours, m)


def any_of(*claims: Claim) -> Claim:
    return lambda key, t, m: any(claim(key, t, m) for claim in claims)


STATUS = r"launcher \d: exit status"
RAN = "worker .*: ran"


def file_is_absolute(key: str, theirs: Any, ours: Any) -> bool:
    return key.endswith("$TORCHELASTIC_ERROR_FILE") and theirs.startswith("..") and ours.startswith("<dir>/logs/")


def only_argv0_differs(key: str, theirs: Any, ours: Any) -> bool:
    return key.endswith(": argv") and theirs[1:] == ours[1:]


def only_decoding_differs(key: str, theirs: Any, ours: Any) -> bool:
    """torchrun reads lines as text: what is no UTF-8 becomes U+FFFD, a carriage return is lost."""
    def as_text(line: str) -> str:
        return re.sub(r"\\x[0-9a-f]{2}", "\ufffd", line.rstrip("\r"))
    return key_is(r"launcher \d: (out|err)")(key) and theirs == [as_text(line) for line in ours]


DIFFERENCES: dict[str, Claim] = {
    # exit status
    "usage-status": seen(STATUS, 1, 2),
    "culprit-status": lambda key, t, m: key_is(STATUS)(key) and t == 1 and m not in (0, 1, 2),
    "signal-status": lambda key, t, m: key_is(STATUS)(key) and t == 1 and m > 128,
    # what a worker gets
    "master-addr": lambda key, t, m: key.endswith("$MASTER_ADDR") and m == "127.0.0.1",
    "one-port": seen(r"\$MASTER_PORT", "<another port>", "<port>"),
    "always-store": seen(r"\$TORCHELASTIC_USE_AGENT_STORE", "False", "True"),
    "named-job": lambda key, t, m: "<uuid>" in str(t) and "mine" in str(m) and key_is("RUN_ID|ERROR_FILE")(key),
    "unnamed-job": lambda key, t, m: "none" in str(t) and "<uuid>" in str(m) and key_is("RUN_ID|ERROR_FILE")(key),
    "absolute-error-file": file_is_absolute,
    "python-path": only_argv0_differs,
    "closed-descriptors": seen(": fd [01]$", None, "/dev/null"),
    "torch-cache": lambda key, t, m: "torchinductor" in str(t) + key and m is None,
    "run-path": any_of(seen(": argv"), seen(r": fd \d+$", {"pipe", "/dev/null"}, None),
                       seen("leads (group|session)", False, True)),
    "unbound": any_of(seen(STATUS, 1, 0), seen(RAN, None, True)),
    # ranks and restarts
    "natural-order": seen(RAN),
    "node-rank": seen(RAN),
    "restart-count": any_of(seen(r"\$TORCHELASTIC_RESTART_COUNT", "0", "1"),
                            lambda key, t, m: m == str(t).replace("attempt_0", "attempt_1")),
    "same-way": seen(RAN, True, None),
    "kept-attempts": seen("^(directory|file) <dir>/logs/a/.*/attempt_"),
    # command line
    "abbreviation": any_of(seen(STATUS, 2, 0), seen(RAN, None, True)),
    "checked": any_of(seen(STATUS, 0, 2), seen(RAN, True, None)),
    "plugin": any_of(seen(STATUS, 1, 0), seen(RAN, None, True)),
    "rank-10": any_of(seen(STATUS, 1, 0), seen(RAN, None, True)),
    # output
    "no-empty-directories": lambda key, t, m: (key.startswith("directory ") and t is True and m is None
                                               and "torchinductor" not in key),
    "output-pipe": lambda key, t, m: bool(key_is(": fd [12]$")(key) and t and m == "pipe"),
    "quiet": seen("says on err", True, False),
    "bytes": only_decoding_differs,
    # signals
    "passed-on": any_of(seen(STATUS, -10, 0), seen("processes left", 2, 0), seen(": got", [], ["SIGUSR1"])),
    "no-orphans": seen("processes left", 2, 0),
    "default-signals": lambda key, t, m: key.endswith(": SigIgn") and set(m[0]) == {"0"},
    "ignored-stays-ignored": any_of(seen(STATUS, 1, 0), seen(": got")),
}

# What every command shows in which a worker runs, as far as it applies.
ORDINARY = {"master-addr", "one-port", "no-empty-directories", "output-pipe", "quiet", "torch-cache"}
