#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A worker that writes down what its launcher gave it, and then does as it is told.

TRW_DIR: where the records go, one JSON file per worker. TRW_AGENT: which launcher this is.
TRW_DO: JSON, what to do: {KEY: [[VERB, ARGUMENT...]...]}, KEY being RANK@TURN, else RANK, else @TURN,
else *. A rank's turn is how many of the same launcher there were before it. Lines on the console begin with "#w RANK ". It imports no torch but for `record`.
"""
import json
import os
import resource
import signal
import stat
import sys
import time

FDS = 64  # looked at
RANK = os.environ.get("RANK", "x")
AGENT = os.environ.get("TRW_AGENT", "0")
HERE = os.environ["TRW_DIR"]
TURN = sum(name.startswith(f"rank.{AGENT}.{RANK}.") for name in os.listdir(HERE))


def fd_kind(fd):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return os.readlink(f"/proc/self/fd/{fd}")
    if stat.S_ISCHR(mode):
        return os.readlink(f"/proc/self/fd/{fd}")
    return "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "other"


def describe():
    with open("/proc/self/cmdline", "rb") as f:
        argv = f.read().split(b"\0")[:-1]
    with open("/proc/self/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f)
    umask = os.umask(0)
    os.umask(umask)
    return {
        "argv": [os.fsdecode(a) for a in argv],
        "env": dict(os.environ),
        "cwd": os.getcwd(),
        "umask": oct(umask),
        "fds": {fd: fd_kind(fd) for fd in range(FDS) if fd_kind(fd)},
        "leads session": os.getsid(0) == os.getpid(),
        "leads group": os.getpgid(0) == os.getpid(),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "nice": os.nice(0),
        "cpus": sorted(os.sched_getaffinity(0)),
        "blocked signals": status["SigBlk"],
        "ignored signals": status["SigIgn"],
        "got": [],
    }


class Worker:
    def __init__(self):
        self.record = describe()
        self.path = os.path.join(HERE, f"rank.{AGENT}.{RANK}.{TURN}")
        self.save()

    def save(self):
        part = os.path.join(HERE, f"part.{AGENT}.{RANK}.{os.getpid()}")
        with open(part, "w") as f:
            json.dump(self.record, f)
        os.rename(part, self.path)

    def note(self, what):
        self.record["got"].append(what)
        self.save()

    def told(self):
        """The first key that fits, of: this rank's attempt, rank, attempt, all."""
        orders = json.loads(os.environ.get("TRW_DO", "{}"))
        for key in (f"{RANK}@{TURN}", RANK, f"@{TURN}", "*"):
            if key in orders:
                return orders[key]
        return []

    def do_out(self, text):
        os.write(1, f"#w {RANK} {text}\n".encode())

    def do_err(self, text):
        os.write(2, f"#w {RANK} {text}\n".encode())

    def do_raw(self, fd, text):
        os.write(fd, text.encode("latin-1"))

    def do_exit(self, status):
        os._exit(status)

    def do_kill(self, name):
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(10)

    def do_stdin(self):
        self.note("stdin: " + sys.stdin.read())

    def do_write(self, path, text):
        with open(os.path.expandvars(path), "w") as f:
            f.write(text)

    def do_trap(self, name, status):
        """On this signal: write it down, then exit; or stay, for a negative status."""
        def handler(signo, _):
            self.note(signal.Signals(signo).name)
            if status >= 0:
                os._exit(status)
        signal.signal(signal.Signals[name], handler)

    def do_peers(self, count):
        """Wait until `count` workers of this turn have come this far."""
        open(os.path.join(HERE, f"met.{TURN}.{AGENT}.{RANK}"), "w").close()
        while sum(n.startswith(f"met.{TURN}.") for n in os.listdir(HERE)) < count:
            time.sleep(0.02)

    def do_ready(self):
        open(os.path.join(HERE, f"ready.{TURN}.{AGENT}.{RANK}"), "w").close()

    def do_hang(self):
        while True:  # until a signal; bounded for whoever forgets to send one
            if not os.path.exists(HERE):
                os._exit(99)
            time.sleep(0.05)

    def do_pause(self, seconds):
        time.sleep(seconds)

    def do_record(self, text):
        """An exception out of a main() that torch's @record decorates."""
        from torch.distributed.elastic.multiprocessing.errors import record

        @record
        def main():
            raise ValueError(text)
        main()


def run():
    worker = Worker()
    for verb, *arguments in worker.told():
        getattr(worker, "do_" + verb)(*arguments)


run()
