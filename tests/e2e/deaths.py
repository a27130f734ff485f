# SPDX-License-Identifier: Apache-2.0
"""A worker that dies: the rank E2E_VICTIM in the way argv[1] says, the others not before they are told."""
from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

RANK = int(os.environ["RANK"])
DIR = Path(os.environ["E2E_DIR"])


def by_exit() -> None:
    print("no data left to train on", file=sys.stderr)
    sys.exit(3)


def by_signal(signo: int) -> None:
    os.kill(os.getpid(), signo)
    time.sleep(60)


def by_segv() -> None:
    faulthandler.enable()
    ctypes.string_at(0)


def by_core() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    by_signal(signal.SIGSEGV)


def by_memory() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1 << 20)))


def by_exception() -> None:
    import atexit
    atexit.register(lambda: print("[W1124 12:00:00 ProcessGroupNCCL.cpp:1496] noise after it", file=sys.stderr))
    try:
        raise KeyError("lr")
    except KeyError as e:
        raise ValueError("the learning rate is a banana") from e


def by_wordy_exception() -> None:
    import atexit
    atexit.register(lambda: print("\n".join(["noise " * 20] * 2000), file=sys.stderr))
    raise ValueError("the learning rate is a banana" + " and so on" * 100000)


def by_exit_after_an_exception() -> None:
    import logging
    try:
        raise KeyError("no cache")
    except KeyError:
        logging.exception("going on without")
    for step in range(20):
        print(f"step {step}", file=sys.stderr)
    sys.exit("the loss is no number")


def by_recorded_exception() -> None:
    from torch.distributed.elastic.multiprocessing.errors import record

    @record
    def main() -> None:
        raise ValueError("recorded: the learning rate is a banana")
    main()


def by_thread() -> None:
    thread = threading.Thread(target=lambda: 1 // 0, name="prefetch")
    thread.start()
    thread.join()
    sys.exit(4)


def by_abort() -> None:
    # What the C++ runtime prints of an exception that nobody catches.
    os.write(2, b"terminate called after throwing an instance of 'std::runtime_error'\n"
                b"  what():  the tokenizer is gone\n")
    ctypes.CDLL(None).abort()


def by_stack_overflow() -> None:
    faulthandler.enable()
    sys.setrecursionlimit(1 << 30)

    def descend() -> list[int]:
        return sorted([2, 1], key=lambda _: descend())
    descend()


def by_bus_error() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(4096)
        mapped = mmap.mmap(file.fileno(), 4096)
        file.truncate(0)
        mapped[0] = 1


def by_full_shm() -> None:
    with open(f"/dev/shm/{os.environ['MUSTER_E2E']}", "w+b") as file:
        file.truncate(8 << 20)
        mapped = mmap.mmap(file.fileno(), 8 << 20)
        mapped[:] = bytes(8 << 20)


def by_interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


def by_import() -> None:
    import no_such_module_of_ours  # noqa: F401


def gloo(how: str) -> None:
    """All ranks compute together; the victim goes amid it. The others die of that, or not quite."""
    import torch
    import torch.distributed as dist
    dist.init_process_group("gloo")
    numbers = torch.ones(4)
    dist.all_reduce(numbers)
    if RANK == int(os.environ["E2E_VICTIM"]):
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("the loss is a pear")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # time for the peers' own errors to be seen
    (DIR / f"peer.{RANK}").touch()
    while True:
        dist.all_reduce(numbers)


WAYS = {
    "exit": by_exit, "segv": by_segv, "core": by_core, "memory": by_memory, "exception": by_exception,
    "wordy": by_wordy_exception, "survived": by_exit_after_an_exception, "record": by_recorded_exception, "thread": by_thread, "abort": by_abort,
    "overflow": by_stack_overflow, "bus": by_bus_error, "shm": by_full_shm, "interrupt": by_interrupt, "import": by_import,
    "kill": lambda: by_signal(signal.SIGKILL), "term": lambda: by_signal(signal.SIGTERM),
}

way = sys.argv[1]
if way.startswith("gloo-"):
    gloo(way[5:])
(DIR / f"up.{RANK}").write_text(str(os.getpid()))
if RANK == int(os.environ["E2E_VICTIM"]):
    while len(list(DIR.glob("up.*"))) < int(os.environ["WORLD_SIZE"]):
        time.sleep(0.01)
    WAYS[way]()
time.sleep(600)
