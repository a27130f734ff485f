#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/FAULTS.md, made of tests/e2e/fault_table.py and what the tests saw.

    scripts/fault-table.py --write     put them in, with the times in build/faults/*.json
    scripts/fault-table.py --check     fail if the document claims something else than is declared
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs/FAULTS.md"
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/e2e"))

import fault_table  # noqa: E402

SEEN = re.compile(r" \([\d.]+ s\)")


def block(kind: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- table: {kind} -->\n).*?(<!-- end -->)", re.DOTALL)


def seen() -> dict[str, float]:
    found: dict[str, float] = {}
    for path in sorted((ROOT / "build/faults").glob("*.json")):
        if not path.stem.endswith("-torch"):
            found.update(json.loads(path.read_text()))
    return found


def main() -> int:
    if sys.argv[1:] not in (["--write"], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    made = text = DOCUMENT.read_text()
    times = seen() if sys.argv[1] == "--write" else {}
    for served, kind in fault_table.SERVED.items():
        table = fault_table.table(served, times)
        made, count = block(kind).subn(lambda m, table=table: f"{m[1]}{table}\n{m[2]}", made)
        text = block(kind).sub(lambda m: SEEN.sub("", m[0]), text) if sys.argv[1] == "--check" else text
        if count != 1:
            print(f"fault-table: {DOCUMENT.name} has no place for the table '{kind}'", file=sys.stderr)
            return 1
    if sys.argv[1] == "--write":
        DOCUMENT.write_text(made)
    elif text != made:
        print(f"fault-table: {DOCUMENT.name} is not what tests/e2e/fault_table.py declares; "
              "run scripts/fault-table.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
