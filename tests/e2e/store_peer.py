# SPDX-License-Identifier: Apache-2.0
"""PyTorch's TCPStore beside a C client: its server, or a client that meets it.

    store_peer.py serve PORT            until it is terminated
    store_peer.py meet PORT PREFIX      the other half of store_calls' meet_python()
"""
import signal
import sys
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore

what, port = sys.argv[1], int(sys.argv[2])
timeout = timedelta(seconds=60)
store = TCPStore("127.0.0.1", port, is_master=what == "serve", timeout=timeout,
                 wait_for_workers=False)
if what == "serve":
    print("serving", flush=True)
    signal.pause()
else:
    prefixed = PrefixStore(sys.argv[3], store) if sys.argv[3] else store
    prefixed.set("from-python", "hello")
    print("from-c:", prefixed.get("from-c").decode())
    prefixed.barrier("met", 2)
    prefixed.queue_push("queue", "pushed")
    prefixed.add("sum", 2)
    prefixed.barrier("added", 2)
    print("sum:", prefixed.get("sum").decode())
