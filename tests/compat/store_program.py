# SPDX-License-Identifier: Apache-2.0
"""Run the cases of the store with the real torch client against one kind of server.

    python3 store_program.py torch|muster PROGRAM [CASE]...

Standard output: one JSON object a line for each step, as store_world.py records it. The last one
tells what torch's stores offer, what of it was used, and what would be found unused if they had
something new. PROGRAM is muster's.
"""
from __future__ import annotations

import faulthandler
import json
import sys
import time
from typing import Any

import store_calls
import store_waits
import torch.distributed as dist
from store_world import MusterServers, Spy, TorchServers, World, surface

LIMIT_S = 100


def record(step: dict[str, Any]) -> None:
    print(json.dumps(step, default=repr), flush=True)


def main() -> int:
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)  # says which call hangs
    kind, program, *wanted = sys.argv[1:]
    servers = {"torch": TorchServers, "muster": MusterServers}[kind](program)
    cases = {name: case for module in (store_calls, store_waits) for name, case in vars(module).items()
             if name.startswith("case_")}
    broken = 0
    for name, case in cases.items():
        title = name[len("case_"):].replace("_", " ")
        if wanted and title not in wanted:
            continue
        start = time.monotonic()
        try:
            case(World(title, servers.fresh(), record))
        except Exception as error:  # Broken, or a mistake in the case: the others still run
            print(f"{kind}: case {title}: {type(error).__name__}: {error}", file=sys.stderr)
            broken += 1
        print(f"{kind}: case {title}: {time.monotonic() - start:.2f} s", file=sys.stderr)
    servers.close()
    grown = type("TCPStore", (dist.TCPStore,), {"brand_new": None})
    record({"surface": sorted(surface()), "used": sorted(Spy.used),
            "grown": sorted(surface(grown, dist.PrefixStore) - Spy.used)})
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
