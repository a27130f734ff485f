# SPDX-License-Identifier: Apache-2.0
"""What a case of the store works with: a fresh server of one kind, clients, threads, a record.

A case is written once and run against muster and against PyTorch's own server. Each step it takes
leaves a record of what came out: a value, or an exception with its text; and when. Nothing in a
record may depend on the run (ports, addresses in memory), so that two records can be compared.
"""
from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any, Callable, Optional, Sequence

import torch.distributed as dist

SECONDS = 20.0  # the timeout of a store unless a case sets its own: nothing here takes so long
# poll, ppoll, recvfrom on x86-64; ppoll, recvfrom on aarch64. In one of them, a client waits.
WAITING = {"7", "271", "45", "73", "207"}

SERVER = """
import sys
from datetime import timedelta
from torch.distributed import TCPStore
kept = []
for line in sys.stdin:
    kept[:] = [TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)]
    print(kept[0].port, flush=True)
"""


class Broken(Exception):
    """A case did not go as its author meant it to, whatever the server."""


class TorchServers:
    """PyTorch's own server, libuv backend, in a process of its own. One store at a time."""

    def __init__(self, _: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def fresh(self) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


class MusterServers:
    """`muster serve`, a new one for each store."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.processes: list[subprocess.Popen[str]] = []

    def fresh(self) -> int:
        for last in self.processes[-1:]:
            last.terminate()  # takes leave of its clients meanwhile; waited for at the end
        process = subprocess.Popen([self.program, "serve", "--listen", "127.0.0.1:0"],
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.processes.append(process)
        assert process.stderr
        line = process.stderr.readline()
        found = re.search(r"serving on 127\.0\.0\.1:(\d+)$", line.strip())
        if not found:
            raise Broken(f"muster serve said {line!r}")
        threading.Thread(target=process.stderr.read, daemon=True).start()  # what it logs
        return int(found.group(1))

    def close(self) -> None:
        for last in self.processes[-1:]:
            last.terminate()
        for process in self.processes:
            if process.wait(30) != 0:
                raise Broken(f"muster serve ended with {process.returncode}")


def ms(count: float) -> timedelta:
    return timedelta(milliseconds=count)


class Spy:
    """A store that notes which of its attributes are used."""

    used: set[str] = set()  # "TCPStore.get"

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        Spy.used.add(f"{type(self._store).__name__}.{name}")
        if callable(value):
            def call(*args: Any, **keywords: Any) -> Any:
                result = value(*args, **keywords)
                return Spy(result) if isinstance(result, dist.Store) else result
            return call
        return Spy(value) if isinstance(value, dist.Store) else value

    def __repr__(self) -> str:
        Spy.used.add(f"{type(self._store).__name__}.__repr__")
        return repr(self._store)


def parameters_of(cls: type) -> set[str]:
    """The parameters of a constructor, which pybind11 tells in its first line only."""
    line = (cls.__init__.__doc__ or "").splitlines()[0]
    return set(re.findall(r"[(,] (\w+): ", line)) - {"self"}


def surface(*classes: type) -> set[str]:
    """Everything public that torch's stores can do, as Spy and World name it. Properties of every
    Python object and of pybind11 are not the stores' own."""
    names = set()
    for cls in classes or (dist.TCPStore, dist.PrefixStore):
        for name in set(dir(cls)) - set(dir(object)) - {"__module__", "_pybind11_conduit_v1_"}:
            names.add(f"{cls.__name__}.{name}")
        names.update(f"{cls.__name__}({name})" for name in parameters_of(cls))
    return names | {"TCPStore.__repr__", "TCPStore._splitSet"}


def split_set(store: Spy, key: str, value: bytes) -> None:
    """TCPStore::_splitSet(), which torch keeps for tests of its own and does not bind to Python:
    sends the key, is idle for a second, sends the value. Called by its C++ name."""
    class String(ctypes.Structure):  # std::string as libstdc++ lays it out
        _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("local", ctypes.c_char * 16)]

    class Vector(ctypes.Structure):
        _fields_ = [("begin", ctypes.c_void_p), ("end", ctypes.c_void_p), ("room", ctypes.c_void_p)]
    library = ctypes.CDLL(os.path.join(os.path.dirname(sys.modules["torch"].__file__ or ""),
                                       "lib/libtorch_cpu.so"))
    function = library["_ZN4c10d8TCPStore9_splitSetERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
                       "RKSt6vectorIhSaIhEE"]
    function.restype = None
    # A pybind11 object holds the pointer to the C++ one right behind Python's own header.
    this = ctypes.c_void_p.from_address(id(store._store) + object.__basicsize__)
    data = ctypes.create_string_buffer(value, len(value))
    begin = ctypes.addressof(data)
    Spy.used.add("TCPStore._splitSet")
    function(this, ctypes.byref(String(key.encode(), len(key.encode()))),
             ctypes.byref(Vector(begin, begin + len(value), begin + len(value))))


class Caller(threading.Thread):
    """A call on a thread of its own, and what became of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.outcome: tuple[str, Any] = ("", None)
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        start = time.monotonic()
        self.outcome = outcome_of(self.call)
        self.seconds = time.monotonic() - start

    def finish(self) -> tuple[str, Any]:
        self.join(60)
        if self.is_alive():
            raise Broken("a call did not return within 60 s")
        return self.outcome


def outcome_of(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "value", call()
    except Broken:
        raise
    except Exception as error:  # every type is of interest: it is compared
        return "error", error


# How a connection that the server closed shows depends on what was still under way: not compared.
LOST = ("Connection reset by peer", "Broken pipe", "Failed to recv, got 0 bytes")


class World:
    """One case, on one fresh server."""

    def __init__(self, case: str, port: int, record: Callable[[dict[str, Any]], None]) -> None:
        self.case = case
        self.port = port
        self.record = record
        self.labels: set[str] = set()
        self.bystander = self.connect()

    # ---- clients ----

    def connect(self, seconds: float = SECONDS, **keywords: Any) -> Spy:
        arguments = {"host_name": "127.0.0.1", "port": self.port, "is_master": False,
                     "timeout": timedelta(seconds=seconds), **keywords}
        Spy.used.update(f"TCPStore({name})" for name in arguments)
        return Spy(dist.TCPStore(**arguments))

    def prefix(self, prefix: str, store: Spy) -> Spy:
        Spy.used.update({"PrefixStore(prefix)", "PrefixStore(store)"})
        return Spy(dist.PrefixStore(prefix, store._store))

    # ---- steps ----

    def plain(self, value: Any) -> Any:
        """A value as it is recorded."""
        if isinstance(value, bytes):
            return repr(value) if len(value) <= 100 else f"{len(value)} bytes, {hash_of(value)}"
        if isinstance(value, (list, tuple)):
            return [self.plain(v) for v in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self.neutral(str(value))

    def neutral(self, text: str) -> str:
        text = text.split("\nException raised from")[0].replace(str(self.port), "PORT")
        text = re.sub(r"SocketImpl\(fd=\d+, addr=[^,]+, remote=[^)]+\)", "SocketImpl(...)", text)
        return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)

    def note(self, label: str, outcome: tuple[str, Any], when: str, want: str) -> Any:
        """Leave a record. `want`: "value", "error", or "any" where servers may differ."""
        kind, result = outcome
        label = f"{self.case}: {label}"
        if label in self.labels:
            raise Broken(f"two steps are called {label!r}")
        self.labels.add(label)
        if kind == "error":
            text = self.neutral(str(result))
            text = "(connection lost)" if text.startswith(LOST) else text
            told: Any = f"{type(result).__module__}.{type(result).__name__}: {text}"
        else:
            told = self.plain(result)
        self.record({"label": label, "kind": kind, "told": told, "when": when})
        if want not in (kind, "any"):
            raise Broken(f"{label}: {told}")
        return result

    def step(self, label: str, call: Callable[[], Any], want: str = "value") -> Any:
        start = time.monotonic()
        outcome = outcome_of(call)
        return self.note(label, outcome, "at once" if time.monotonic() - start < SECONDS / 2 else "late", want)

    def fails(self, label: str, call: Callable[[], Any]) -> Any:
        return self.step(label, call, "error")

    def times_out(self, label: str, timeout_ms: float, call: Callable[[], Any], want: str = "error") -> Any:
        """A call that gives up after its timeout: not before, and not much later."""
        start = time.monotonic()
        outcome = outcome_of(call)
        return self.note(label, outcome, span(outcome, time.monotonic() - start, timeout_ms), want)

    def loses(self, label: str, store: Spy, call: Callable[[], Any]) -> None:
        """A request for which the server closes the connection. A client that expects no reply may
        or may not notice while it still sends; it does at its next question."""
        outcome_of(call)
        self.fails(label, lambda: store.check(["k"]))

    def settle(self, waiters: Sequence[threading.Thread]) -> None:
        """Until the threads have sent their questions and the server has read them, or they have
        returned. A later question of another client is answered after that."""
        end = time.monotonic() + 30
        for thread in waiters:
            while thread.is_alive() and syscall_of(thread) not in WAITING:
                if time.monotonic() > end:
                    raise Broken("a thread did not come to wait for the server within 30 s")
                time.sleep(0.001)
        for _ in range(2):
            self.bystander.num_keys()

    def released(self, label: str, wait: Callable[[], Any], act: Callable[[], Any],
                 timeout_ms: Optional[float] = None, want: str = "value") -> Any:
        """`wait` on a thread; once it waits, `act`. Recorded is what came of the waiting, and whether
        it ended before the act, by the act, or in spite of it after its timeout."""
        waiter = Caller(wait)
        self.settle([waiter])
        before = not waiter.is_alive()
        act()
        outcome = waiter.finish()
        when = "before the act" if before else "by the act"
        if outcome[0] == "error" and timeout_ms is not None:
            when = span(outcome, waiter.seconds, timeout_ms)
        return self.note(label, outcome, when, want)


def span(outcome: tuple[str, Any], seconds: float, timeout_ms: float) -> str:
    if seconds > timeout_ms / 1000 + SECONDS / 2:
        return "late"
    if outcome[0] == "value":
        return "at once"
    return f"after {timeout_ms:g} ms" if seconds >= timeout_ms / 1000 - 0.002 else "too early"


def syscall_of(thread: threading.Thread) -> str:
    try:
        with open(f"/proc/self/task/{thread.native_id}/syscall", encoding="ascii") as file:
            return file.read().split()[0]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""


def hash_of(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:16]
