# SPDX-License-Identifier: Apache-2.0
"""One coordinator, many rounds: neither its memory nor its descriptors grow.

MUSTER_SOAK_ROUNDS (500) rounds, of eight agents that speak the real protocol and have no workers;
`make soak-rounds` makes it 10,000.
"""
from __future__ import annotations

import os

from muster import BUILD, Case, expect
from procs import Skip

LIMIT = 600


def test_rounds_leave_nothing_behind(t: Case) -> None:
    if BUILD.name in ("asan", "tsan"):
        raise Skip("with a sanitizer memory is kept that was freed")
    server = t.serve()
    rounds = os.environ.get("MUSTER_SOAK_ROUNDS", "500")
    soak = t.spawn("soak", [BUILD / "bench/rounds_soak", "--port", t.port, "--pid", server.pid,
                            "--rounds", rounds])
    expect(soak.wait(LIMIT) == 0, f"something grew or failed: {soak.out}{soak.err}")
    print(soak.out.strip())
    expect(server.is_running(), "the coordinator to go on")
