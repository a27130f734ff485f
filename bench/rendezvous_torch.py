# SPDX-License-Identifier: Apache-2.0
"""torchrun's rendezvous: N of its c10d handlers meet. Prints how long it took as a line of JSON.

    rendezvous_torch.py AGENTS LIMIT_S

The handlers are threads of one process, which spares each the 200 MB and the second that a process
with torch takes; the first serves their store, as the first agent of a job does.
"""
from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler


def parameters(agents: int, port: int, is_host: bool, limit_s: float) -> RendezvousParameters:
    return RendezvousParameters(
        backend="c10d", endpoint=f"127.0.0.1:{port}", run_id="bench", min_nodes=agents,
        max_nodes=agents, local_addr="127.0.0.1", is_host=is_host,
        join_timeout=int(limit_s) + 60, close_timeout=5)


class Agent(threading.Thread):
    """One handler, as torchrun's agent makes one, and its first rendezvous."""

    def __init__(self, agents: int, port: int, is_host: bool, limit_s: float) -> None:
        super().__init__(daemon=True)
        self.params = parameters(agents, port, is_host, limit_s)
        self.met_ns = 0

    def run(self) -> None:
        backend, store = create_backend(self.params)
        self.handler = create_handler(store, backend, self.params)
        self.handler.next_rendezvous()
        self.met_ns = time.monotonic_ns()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main() -> int:
    agents, limit_s = int(sys.argv[1]), float(sys.argv[2])
    port = free_port()
    crowd = [Agent(agents, port, i == 0, limit_s) for i in range(agents)]
    begun = time.monotonic_ns()
    for agent in crowd:
        agent.start()
    for agent in crowd:
        agent.join(max(0.0, limit_s - (time.monotonic_ns() - begun) / 1e9))
    is_met = all(agent.met_ns != 0 for agent in crowd)
    end = max(agent.met_ns for agent in crowd)
    print(json.dumps({"agents": agents, "assign_s": (end - begun) / 1e9 if is_met else None}),
          flush=True)
    os._exit(0)  # no handler is told to close: they would wait for each other


if __name__ == "__main__":
    sys.exit(main())
