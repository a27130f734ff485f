# SPDX-License-Identifier: Apache-2.0
"""The C client library against muster's store and PyTorch's: every call, the same answers."""
from __future__ import annotations

import re
import signal
from pathlib import Path

from muster import BUILD, PATIENCE, ROOT, Case, expect
from procs import Proc, wait_for
from test_torch import torch_python

LIMIT = 180
EXAMPLE = str(BUILD / "examples/meet_ranks")
CALLS = str(BUILD / "workers/store_calls")
PEER = str(Path(__file__).parent / "store_peer.py")

# What store_calls prints, whatever store it is.
ANSWERS = """\
ping: ok
set a: ok
get a: ok 3 'one'
set empty: ok
get empty: ok 0 ''
append a: ok
append new: ok
get a: ok 7 'one+two'
add n 5: ok 5
add n -7: ok -2
get n: ok 2 '-2'
compare_set c, absent, x expected: ok 1 'x'
compare_set c, absent, none expected: ok 1 'x'
compare_set c, x, y expected: ok 1 'x'
compare_set c, x, x expected: ok 1 'y'
check a b: ok 0
multi_set a b: ok
check a b: ok 1
multi_get a: ok 1 '1'
multi_get b: ok 2 '22'
num_keys: ok 6
delete empty: ok 1
delete empty: ok 0
list_keys: ok 5
    a
    b
    c
    n
    new
queue_try_pop, empty: ok 0
queue_push one: ok
queue_push two: ok
queue_len: ok 2
queue_pop: ok 3 'one'
queue_try_pop: ok 1
    of: ok 3 'two'
queue_pop, empty: TIMEOUT
wait a b: ok
wait a b, 0 ms: ok
wait nothing: ok
wait absent, 0 ms: TIMEOUT
wait absent: TIMEOUT
get absent: TIMEOUT
barrier of 2, alone: TIMEOUT
wait absent, cancelled: CANCELED
add, still cancelled: CANCELED
barrier of 3, cancelled: CANCELED
add n 100: ok 98
wait_start absent: ok
wait_poll: ok 0
ping meanwhile: USAGE
wait_stop: ok 0
wait_start a b: ok
poll: 1
wait_poll: ok 1
clone: ok
get late: ok 3 'now'
barrier of 2: ok
queue_push: ok
queue_pop: ok 4 'ping'
set large: ok
get large: ok 8388608 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
set too large: USAGE
multi_set many: ok
multi_get many: ok 2000
"""


def test_the_manuals_example(t: Case) -> None:
    """It meets; and SIGTERM ends it, in order, while it waits for a rank 0 that does not come."""
    done = t.run("run", "--standalone", "--nproc-per-node", "3", "--no-python", EXAMPLE)
    done.expect(0)
    expect(done.out.count("meet at the fountain") == 3, f"it says {done.out!r}")
    t.serve()
    alone = t.spawn("alone", [EXAMPLE], {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(t.port), "RANK": "1", "WORLD_SIZE": "2",
        "TORCHELASTIC_RESTART_COUNT": "0"})
    wait_for(lambda: handles(alone, signal.SIGTERM), "its handler")
    alone.signal(signal.SIGTERM)
    alone.expect(1)
    expect("cancelled" in alone.err, f"it says {alone.err!r}")


def handles(proc: Proc, signo: int) -> bool:
    mask = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{proc.pid}/status").read_text(), re.MULTILINE)
    return mask is not None and bool(int(mask[1], 16) >> (signo - 1) & 1)


def torch_server(t: Case) -> Proc:
    server = t.spawn("torch-store", [torch_python(), PEER, "serve", str(t.port)])
    t.cleanups.append(lambda: (server.popen.terminate(), server.wait()))
    wait_for(lambda: "serving" in server.out, "torch's server", 60 * PATIENCE)
    return server


def calls(t: Case, *args: str) -> Proc:
    return t.spawn(f"calls{len(t.procs)}", [CALLS, "127.0.0.1", str(t.port), *args])


def expect_answers(t: Case) -> None:
    program = calls(t)
    program.expect(0, 60 * PATIENCE)
    got, wanted = program.out.splitlines(), ANSWERS.splitlines()
    for number, (a, b) in enumerate(zip(got, wanted), 1):
        expect(a == b, f"line {number} is {a!r}, not {b!r}")
    expect(len(got) == len(wanted), f"{len(got)} lines, not {len(wanted)}")


def test_every_call_is_tried(t: Case) -> None:
    """No call of the header is left out of what the other tests run."""
    header = (ROOT / "include/muster/store_client.h").read_text()
    source = (ROOT / "tests/workers/store_calls.c").read_text()
    declared = set(re.findall(r"\b(store_(?:conn|cancel)_\w+)\(", header))
    # store_conn_open() is the other one without a cancel.
    left_out = {f for f in declared if f"{f}(" not in source} - {"store_conn_open", "store_cancel_is_raised"}
    expect(len(declared) > 25 and not left_out, f"not called: {sorted(left_out)} of {len(declared)}")


def test_calls_against_muster(t: Case) -> None:
    t.serve()
    expect_answers(t)


def test_calls_against_torch(t: Case) -> None:
    torch_server(t)
    expect_answers(t)


def expect_meeting(t: Case, prefix: str) -> None:
    """A C client and a Python client, at barriers, a queue and a counter."""
    python = t.spawn(f"python{len(t.procs)}", [torch_python(), PEER, "meet", str(t.port), prefix])
    program = calls(t, prefix)
    program.expect(0, 60 * PATIENCE)
    python.expect(0, 60 * PATIENCE)
    expect(program.out.splitlines() == [
        "get from python: ok 5 'hello'", "set from c: ok", "barrier with python: ok",
        "queue_pop from python: ok 6 'pushed'", "add: ok", "barrier with python: ok",
    ], f"the C client says {program.out!r}")
    expect(python.out.splitlines() == ["from-c: hello", "sum: 42"], f"Python says {python.out!r}")


def test_python_and_c_meet_at_muster(t: Case) -> None:
    torch_python()
    t.serve()
    expect_meeting(t, "p/q")
    expect_meeting(t, "")


def test_python_and_c_meet_at_torch(t: Case) -> None:
    torch_server(t)
    expect_meeting(t, "p/q")
    expect_meeting(t, "")
