# SPDX-License-Identifier: Apache-2.0
"""Lists of host names against Slurm's own programs, which need no Slurm that runs."""
from __future__ import annotations

import os
import random
import subprocess

from muster import BUILD, Case, expect, need_tools

LIMIT = 120
NAMES = str(BUILD / "workers/hostlist_names")
LISTS = 300

# What is no list by the rules of Slurm 22.05 but one by those of 23.11: a name that goes on behind
# its last bracket.
ODD = ["", "n1", "n1,", ",n1,,n2", "[1-3]", "a[8-11]", "a[08-11]", "a[001,2]", "a[099-101]", "a[99-0101]", "a[1-01]",
       "a[1-2]b[3-4]", "a[1-2][3-4]", "a[1-2]b[3-4]c[5-6]", "a[1-2]b[3-4]c[5-6]d[7-8]", "a[1,1]", "a[1-3,2]",
       "osk-gpu[54,56,91]", "nid[001-004,007],login1", "a[0-65535]"]
WRONG = ["a[]", "a[1,]", "a[,1]", "a[3-1]", "a[-1]", "a[1--2]", "a[x]", "a[0x1]", "a[[1-2]]", "a[1.5]", "a[0-65536]"]


def scontrol(t: Case, what: str, text: str) -> list[str]:
    """The lines `scontrol show WHAT` prints; none if it refuses the list."""
    done = subprocess.run(["scontrol", "show", what, text], env=t.env, capture_output=True, text=True, timeout=30,
                          check=False)
    lines = done.stdout.split("\n")[:-1]
    return [] if done.stdout.startswith("Invalid hostlist") or "Invalid hostlist" in done.stderr else lines


def ours(t: Case, lists: list[str]) -> list[str]:
    done = subprocess.run([NAMES], env=t.env, input="".join(f"{text}\n" for text in lists), capture_output=True,
                          text=True, timeout=60, check=True)
    return done.stdout.split("\n")[:-1]


def configure(t: Case) -> random.Random:
    need_tools("scontrol")
    conf = t.dir / "slurm.conf"
    conf.write_text("ClusterName=none\nSlurmctldHost=localhost\n")
    t.env["SLURM_CONF"] = str(conf)
    seed = int(os.environ.get("MUSTER_E2E_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"seed {seed}")
    return random.Random(seed)


def number(r: random.Random) -> tuple[str, int]:
    value = r.choice([r.randrange(12), r.randrange(120), r.randrange(2000)])
    return str(value).zfill(r.choice([0, 0, 2, 3, 4])), value


def ranges(r: random.Random) -> str:
    items = []
    for _ in range(r.randrange(1, 4)):
        text, value = number(r)
        if r.random() < 0.6:
            text += "-" + str(value + r.randrange(6)).zfill(r.choice([0, 0, 3]))
        items.append(text)
    return "[" + ",".join(items) + "]"


def random_list(r: random.Random) -> str:
    words = []
    for _ in range(r.randrange(1, 4)):
        prefix = r.choice(["n", "osk-gpu", "nid", "a1b", "rack", "x-", "n.example.", ""])
        brackets = r.choice([0, 1, 1, 1, 2, 3])
        word = prefix + ranges(r) if brackets else (prefix or "m") + number(r)[0]
        for _ in range(brackets - 1):
            word += r.choice(["", "n", "-ib"]) + ranges(r)
        words.append(word)
    return ",".join(words)


def test_names_are_slurms(t: Case) -> None:
    r = configure(t)
    lists = ODD + [random_list(r) for _ in range(LISTS)]
    for text, names in zip(lists, ours(t, lists), strict=True):
        theirs = scontrol(t, "hostnames", text)
        expect(names.split() == theirs, f"{text!r}: {names[:200]!r}, but scontrol says {theirs[:20]}")


def test_what_slurm_refuses(t: Case) -> None:
    configure(t)
    for text, names in zip(WRONG, ours(t, WRONG), strict=True):
        expect(names.startswith("! "), f"{text!r} is taken for {names!r}")
        expect(scontrol(t, "hostnames", text) == [], f"{text!r} is a list for scontrol")


def test_what_slurm_writes(t: Case) -> None:
    """Names that are put together by Slurm come apart again, in their order."""
    r = configure(t)
    sets, lists = [], []
    for _ in range(LISTS):
        width = r.choice([0, 0, 2, 3])
        prefixes = r.sample(["n", "gpu", "node-a", "r1n", "login"], 2)
        names = [r.choice(prefixes) + str(r.randrange(r.choice([12, 300]))).zfill(width)
                 for _ in range(r.randrange(1, 20))]
        names.sort(key=lambda name: r.random() if width == 0 else name)
        written = scontrol(t, "hostlist", ",".join(names))
        expect(len(written) == 1, f"scontrol writes {written} for {names}")
        sets.append(names)
        lists.append(written[0])
    for names, text, read in zip(sets, lists, ours(t, lists), strict=True):
        expect(read.split() == names, f"{text!r}: {read!r} instead of {names}")
