# SPDX-License-Identifier: Apache-2.0
"""The store under pressure: crowds, storms, those who do not read, and what runs out."""
from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
from typing import Iterator, Sequence

from c10d import GET, WAIT, Client, Closed, string
from muster import BUILD, MUSTER, PATIENCE, Case, expect, need_root, need_tools
from procs import Proc, wait_for

LIMIT = 300
CROWD = str(BUILD / "workers/store_crowd")
MEGABYTE = 1 << 20
HARD_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def serve(t: Case, *options: str, wrapper: Sequence[str] = ()) -> Proc:
    server = t.spawn("serve", [*wrapper, MUSTER, "serve", "--listen",
                               f"127.0.0.1:{t.port}", *options])
    t.wait_listening(server)
    return server


def client(t: Case) -> Client:
    one = Client("127.0.0.1", t.port, os.getpid(), 60 * PATIENCE)
    one.pong()
    return one


def counts(t: Case) -> dict[str, int]:
    return t.status().data["port"]


def shared(t: Case) -> dict[str, int]:
    return t.status().data["shared_store"]


def memory(proc: Proc) -> int:
    """Resident bytes."""
    with open(f"/proc/{proc.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def get_request(key: str) -> bytes:
    return bytes([GET]) + string(key.encode())


def many_files(count: int) -> None:
    expect(HARD_FILES > count, f"this needs {count} descriptors, the hard limit is {HARD_FILES}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_FILES, HARD_FILES))


# Memory of a sanitizer's own is not what these tests are about.
IS_LEAN = BUILD.name not in ("asan", "tsan")


# ---- crowds ----

def expect_released(text: str, count: int) -> None:
    told = json.loads(text)
    expect(told["released"] == told["count"] == count, f"released: {told}")
    if IS_LEAN:
        expect(told["bytes_each"] <= 2048, f"{told['bytes_each']} bytes for each connection")


def test_crowd_is_released_by_one_set(t: Case) -> None:
    count = min(100_000, HARD_FILES - 1000)
    server = serve(t)
    crowd = t.spawn("crowd", [CROWD, str(t.port), str(server.pid), str(count)])
    crowd.expect(0, 120 * PATIENCE)
    expect_released(crowd.out, count)
    wait_for(lambda: shared(t)["clients"] == 0, "all to be gone", 30 * PATIENCE)
    expect(shared(t)["waiting"] == 0, "somebody still waits")


def test_crowd_of_100000(t: Case) -> None:
    """In a kernel of its own (user-mode Linux), where descriptors are not limited to what we have."""
    if HARD_FILES > 101_000:
        return  # the test above has done it
    need_root()
    need_tools("linux.uml")
    script = t.dir / "init.sh"
    script.write_text(f"""#!/bin/sh
        mount -t proc proc /proc
        ip link set lo up
        ulimit -n 250000
        {BUILD}/muster serve --listen 127.0.0.1:29500 &
        server=$!
        until {BUILD}/muster status 127.0.0.1:29500 >/dev/null 2>&1 || [ $? != 3 ]; do sleep 0.1; done
        {CROWD} 29500 $server 100000
        kill $server
        wait
        halt -f
        """)
    script.chmod(0o755)
    memory_file = os.statvfs("/dev/shm")
    roomy = memory_file.f_bavail * memory_file.f_frsize > 6 << 30
    uml = t.spawn("uml", ["linux.uml", "mem=5G", "rootfstype=hostfs", "rootflags=/", "rw", "quiet",
                          "con=null", "con0=null,fd:1", f"init={script}"],
                  {"TMPDIR": "/dev/shm" if roomy else "/tmp"})
    uml.wait(240 * PATIENCE)
    line = next((line for line in uml.out.splitlines() if line.startswith("{")), "")
    expect(line, f"no result: {uml.out[-2000:]}")
    expect_released(line, 100_000)


# ---- who does not read ----

def test_slow_reader_holds_nobody_up(t: Case) -> None:
    server, gets = serve(t), 200
    value = random.randbytes(MEGABYTE)
    slow, other = client(t), client(t)
    slow.set("big", value)
    slow.conn.sendall(get_request("big") * gets)
    for turn in range(1000):
        expect(other.add("n", 1) == turn + 1, "a wrong sum")
    if IS_LEAN:
        expect(memory(server) < 16 * MEGABYTE, f"{memory(server)} bytes for {gets} replies unread")
    expect(counts(t)["store_slow_dropped"] == 0, "a reader was dropped")
    for _ in range(gets):
        expect(slow.read_string() == value, "a wrong value")


def test_megabyte_for_a_thousand(t: Case) -> None:
    server, count = serve(t), 1000
    many_files(count + 100)
    value = random.randbytes(MEGABYTE)
    crowd = [client(t) for _ in range(count)]
    for one in crowd:
        one.conn.sendall(bytes([WAIT]) + struct.pack("<Q", 1) + string(b"big"))
    setter = client(t)
    setter.set("big", value)
    for one in crowd:
        expect(one.read(1) == b"\0", "not released")
        one.conn.sendall(get_request("big"))
    setter.add("n", 1)
    if IS_LEAN:
        expect(memory(server) < 32 * MEGABYTE, f"{memory(server)} bytes for {count} readers")
    for one in crowd:
        expect(one.read_string() == value, "a wrong value")


def test_reader_that_asks_on_is_paused(t: Case) -> None:
    server = serve(t)
    value = random.randbytes(1000)
    one, other = client(t), client(t)
    one.set("small", value)
    request, sent, refused = get_request("small"), 0, 0
    one.conn.setblocking(False)
    while refused < 50:  # until all that lies between us is full
        try:
            sent += one.conn.send((request * 500)[sent % len(request):])
            refused = 0
        except BlockingIOError:
            refused += 1
            expect(other.add("n", 1) > 0, "the other is held up")
    wait_for(lambda: counts(t)["store_paused"] >= 1, "the asker to be paused", 10 * PATIENCE)
    if IS_LEAN:
        expect(memory(server) < 16 * MEGABYTE, f"{memory(server)} bytes")
    one.conn.settimeout(60 * PATIENCE)
    for _ in range(sent // len(request)):
        expect(one.read_string() == value, "a wrong value")
    expect(sent > 1000 * len(request), f"only {sent} bytes of requests: nothing was full")


def test_reader_that_costs_too_much_is_dropped(t: Case) -> None:
    server = serve(t, "--store-memory", "16M")
    slow, other = client(t), client(t)
    for turn in range(400):  # on a busy machine several requests are read together, and share a value
        if turn % 20 == 19 and counts(t)["store_slow_dropped"] == 1:
            break
        other.set("big", bytes([turn % 256]) * MEGABYTE)
        expect(other.add("n", 1) == turn + 1, "the other is held up")  # and the value is there now
        try:
            slow.conn.sendall(get_request("big"))
        except ConnectionError:
            break
    wait_for(lambda: counts(t)["store_slow_dropped"] == 1, "the reader to be dropped", 10 * PATIENCE)
    expect(shared(t)["unread_bytes"] <= 4 * MEGABYTE, "what it kept is still there")
    if IS_LEAN:
        expect(memory(server) < 40 * MEGABYTE, f"{memory(server)} bytes")


def test_full_store_refuses_only_who_fills_it(t: Case) -> None:
    serve(t, "--store-memory", "1M")
    greedy, other = client(t), client(t)
    other.set("k", b"v")
    try:
        greedy.set("big", bytes(MEGABYTE))
        greedy.get("big")
        expect(False, "the store took more than it may hold")
    except (Closed, ConnectionError):
        pass
    expect(other.get("k") == b"v", "a wrong value")
    expect(counts(t)["store_over_limit"] == 1, f"not counted: {counts(t)}")


# ---- storms ----

def connecting(t: Case, count: int) -> list[socket.socket]:
    """Sockets that are being connected, all at once."""
    many_files(count + 100)
    storm = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", t.port))
        storm.append(one)
    return storm


def greeted(storm: Sequence[socket.socket]) -> Iterator[Client]:
    for one in storm:
        one.settimeout(60 * PATIENCE)
        known = Client.__new__(Client)
        known.conn = one
        one.sendall(b"\x00" + struct.pack("<I", 0x3C85F7CE) + b"\x0d" + struct.pack("<I", 7))
        expect(known.pong() == 7, "a wrong answer")
        yield known


def test_accept_storm(t: Case) -> None:
    """More than the kernel keeps in its queue while the server stands still."""
    server = serve(t)
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as setting:
        queue = int(setting.read())
    count = min(queue + 200, HARD_FILES - 500)
    server.signal(signal.SIGSTOP)
    storm = connecting(t, count)
    server.signal(signal.SIGCONT)
    wait_for(lambda: all_connected(storm), f"{count} connections", 60 * PATIENCE)
    expect(sum(1 for _ in greeted(storm)) == count, "not all were greeted")
    port = counts(t)
    expect(port["accepted"] >= count, f"accepted: {port}")
    expect(port["backlog_full"] >= 1 or count < queue, f"the full queue was not counted: {port}")


def all_connected(storm: Sequence[socket.socket]) -> bool:
    return all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) == 1 for one in storm)


def test_disconnect_storm(t: Case) -> None:
    server, count = serve(t), 5000
    crowd = list(greeted(connecting(t, count)))
    for one in crowd:
        one.conn.sendall(bytes([WAIT]) + struct.pack("<Q", 2) + string(b"never") + string(b"ever"))
    other = client(t)
    wait_for(lambda: shared(t)["waiting"] == count, "all to wait", 30 * PATIENCE)
    for one in crowd:
        one.conn.close()
    for turn in range(500):
        expect(other.add("n", 1) == turn + 1, "a wrong sum")
    wait_for(lambda: shared(t)["clients"] == 1, "all to be forgotten", 30 * PATIENCE)
    left = shared(t)
    expect(left["waiting"] == 0 and left["keys"] == 1, f"left behind: {left}")
    expect(server.is_running(), "the server ended")


# ---- what runs out, who is gone, who talks nonsense ----

def test_descriptors_run_out(t: Case) -> None:
    serve(t, wrapper=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"])
    inside: list[Client] = []
    for _ in range(60):
        try:
            inside.append(client(t))
        except (Closed, ConnectionError):
            break
    expect(20 <= len(inside) <= 48, f"{len(inside)} connections with 64 descriptors")
    first = inside.pop()
    expect(first.add("n", 1) == 1, "who is inside is not served")
    for _ in range(4):
        inside.pop().conn.close()
    wait_for(lambda: shared(t)["clients"] == len(inside) + 1, "room", 10 * PATIENCE)
    expect(counts(t)["turned_away"] >= 1, f"not counted: {counts(t)}")
    expect(client(t).add("n", 1) == 2, "who came when there was room is not served")


def test_agent_keeps_descriptors_for_its_workers(t: Case) -> None:
    agent = t.agent("node1", ["--nnodes", "1", "--nproc-per-node", "2", "--max-restarts", "1"],
                    wrapper=["sh", "-c", 'ulimit -n 160; exec "$@"', "sh"])
    t.workers(2)
    flood = []
    for _ in range(200):
        flood.append(socket.create_connection(("127.0.0.1", t.port), 10 * PATIENCE))
        flood[-1].sendall(b"\x00")
    wait_for(lambda: turned_away(flood), "the flood to be turned away", 10 * PATIENCE)
    t.tell("exit.0.0", "3")
    t.workers(2, turn=1)
    t.go()
    agent.expect(0)


def turned_away(flood: Sequence[socket.socket]) -> bool:
    """Has the last of them been closed?"""
    flood[-1].settimeout(0.05)
    try:
        return flood[-1].recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_peers_are_asked_whether_they_live(t: Case) -> None:
    need_tools("ss")
    serve(t)
    one = client(t)
    port = one.conn.getsockname()[1]
    told = subprocess.run(["ss", "-tnoH", f"sport = :{t.port} and dport = :{port}"], check=True,
                          capture_output=True, text=True).stdout
    expect("keepalive" in told, f"no keepalive: {told}")
    expect("min" not in told.split("keepalive,")[1].split(",")[0], f"later than in a minute: {told}")


def nonsense(dice: random.Random) -> bytes:
    huge = struct.pack("<Q", dice.choice([8193, 1 << 31, 1 << 63, (1 << 64) - 1, 8388609]))
    hello = b"\x00" + struct.pack("<I", 0x3C85F7CE)
    return dice.choice([
        lambda: dice.randbytes(dice.randrange(1, 200)),
        lambda: hello + bytes([dice.randrange(19, 256)]),
        lambda: hello + bytes([dice.choice([1, 2, 3, 4, 8, 9, 14, 15, 16, 18])]) + huge,
        lambda: hello + bytes([dice.choice([5, 6, 10, 11])]) + huge,
        lambda: hello + b"\x01" + string(b"k") + huge,
        lambda: b"\x00" + dice.randbytes(4),
        lambda: hello + hello,
        lambda: hello + b"\x01" + string(b"text") + string(b"abc") + b"\x04" + string(b"text") + bytes(8),
        lambda: hello[:dice.randrange(1, 5)],
        lambda: hello + b"\x01" + string(b"k")[:-dice.randrange(1, 2)],
    ])()


def test_nonsense_closes_that_connection_only(t: Case) -> None:
    serve(t)
    seed = int(os.environ.get("MUSTER_E2E_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    dice, other = random.Random(seed), client(t)
    for turn in range(400):
        with socket.create_connection(("127.0.0.1", t.port), 10 * PATIENCE) as stranger:
            stranger.sendall(nonsense(dice))
        expect(other.add("n", 1) == turn + 1, "a wrong sum")
    port = counts(t)
    expect(port["store_broken"] > 0 and port["store_over_limit"] > 0, f"not counted: {port}")
    wait_for(lambda: shared(t)["clients"] == 1, "the strangers to be gone", 10 * PATIENCE)
