# SPDX-License-Identifier: Apache-2.0
"""Record what PyTorch's own TCPStore client and server say to each other.

    python3 tests/compat/capture_c10d.py > tests/data/c10d_torch_2_13.inc

PyTorch's server runs in one process, its client in another, and this process forwards and
records every byte between them. A third party, the raw probes at the end, sends hand-made bytes
to the same server, to record what it answers where the client gives us no way to ask.

Everything is on the loopback interface; both children end with this process.
"""

import os
import select
import socket
import subprocess
import sys
import textwrap
import time

QUIET_S = 0.08  # nothing more comes if nothing came for so long; only this recorder relies on it

SERVER = """
import sys
from datetime import timedelta
from torch.distributed import TCPStore
s = TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=30))
print(s.port, flush=True)
sys.stdin.read()
"""

# The client waits for a line before each call, so that bytes can be told apart by call.
CLIENT = """
import sys, threading, time
from datetime import timedelta
import torch.distributed as dist
sys.path.insert(0, sys.argv[2])
import store_world
port = int(sys.argv[1])
ms = lambda n: timedelta(milliseconds=n)
out = sys.stdout

def say(label, f):
    print("CALL", label, flush=True)
    sys.stdin.readline()
    try:
        r = f()
    except Exception as e:
        r = f"{type(e).__name__}: {str(e).splitlines()[0]}"
    print("DONE", repr(r), flush=True)
    sys.stdin.readline()
    return r

box = {}
def make(name, **kw):
    def f():
        box[name] = dist.TCPStore("127.0.0.1", port, is_master=False,
                                  timeout=timedelta(seconds=20), **kw)
    return f

def later(f):
    t = threading.Thread(target=f)
    t.start()
    return t

say("construct world_size=2", make("a", world_size=2))
say("construct without world_size", make("b"))
a, b = box["a"], box["b"]
say("set k v1", lambda: a.set("k", "v1"))
say("set empty value", lambda: a.set("e", ""))
say("get k", lambda: a.get("k"))
say("add n 5", lambda: a.add("n", 5))
say("add n -7", lambda: a.add("n", -7))
say("add n 0", lambda: a.add("n", 0))
say("get n", lambda: a.get("n"))
say("compare_set cs absent, expected empty", lambda: a.compare_set("cs", "", "first"))
say("compare_set cs2 absent, expected x", lambda: a.compare_set("cs2", "x", "y"))
say("compare_set cs match", lambda: a.compare_set("cs", "first", "second"))
say("compare_set cs mismatch", lambda: a.compare_set("cs", "bad", "z"))
say("check all present", lambda: a.check(["k", "n"]))
say("check one absent", lambda: a.check(["k", "zz"]))
say("wait present", lambda: a.wait(["k", "n"]))
say("wait timeout", lambda: a.wait(["zz", "yy"], ms(150)))
say("wait timeout 0", lambda: a.wait(["k"], ms(0)))
say("get after a timeout", lambda: a.get("k"))

def released():
    t = later(lambda: (time.sleep(0.3), b.set("w1", "x"), time.sleep(0.1), b.set("w2", "y")))
    a.wait(["w1", "w2"])
    t.join()
say("wait released by another's two sets", released)
def released_get():
    t = later(lambda: (time.sleep(0.3), b.add("w3", 3)))
    r = a.get("w3")
    t.join()
    return r
say("get released by another's add", released_get)
say("wait on the same key twice", lambda: a.wait(["k", "k"]))
say("num_keys", lambda: a.num_keys())
say("delete_key present", lambda: a.delete_key("e"))
say("delete_key absent", lambda: a.delete_key("e"))
say("append absent", lambda: a.append("ap", "po"))
say("append present", lambda: a.append("ap", "tato"))
say("get appended", lambda: a.get("ap"))
say("multi_set", lambda: a.multi_set(["m1", "m2"], ["1", "22"]))
say("multi_get", lambda: a.multi_get(["m1", "m2"]))
say("queue_len unknown", lambda: a.queue_len("q"))
say("queue_pop empty, non-blocking", lambda: a.queue_pop("q", block=False))
say("queue_push a", lambda: a.queue_push("q", "a"))
say("queue_push b", lambda: a.queue_push("q", "b"))
say("queue_len", lambda: a.queue_len("q"))
say("check queue", lambda: a.check(["q"]))
say("queue_pop blocking", lambda: a.queue_pop("q"))
say("queue_pop non-blocking", lambda: a.queue_pop("q", block=False))
def popped():
    t = later(lambda: (time.sleep(0.3), b.queue_push("q2", "late")))
    r = a.queue_pop("q2")
    t.join()
    return r
say("queue_pop released by another's push", popped)
say("prefix set", lambda: dist.PrefixStore("p", a).set("k", "pv"))
say("prefix get", lambda: dist.PrefixStore("p", a).get("k"))
say("set 1600 bytes", lambda: a.set("big", "x" * 1600))
say("has barrier", lambda: hasattr(a, "barrier"))
if hasattr(a, "barrier"):
    say("barrier world_size 1", lambda: a.barrier("br1", 1))
    def meet():
        t = later(lambda: (time.sleep(0.3), b.barrier("br2", 2)))
        a.barrier("br2", 2)
        t.join()
    say("barrier of two", meet)
    say("barrier timeout", lambda: a.barrier("br3", 2, ms(150)))
    def meet_prefix():
        pa, pb = dist.PrefixStore("p", a), dist.PrefixStore("p", b)
        t = later(lambda: (time.sleep(0.3), pb.barrier("br4", 2)))
        pa.barrier("br4", 2)
        t.join()
    if hasattr(dist.PrefixStore, "barrier"):
        say("prefix barrier of two", meet_prefix)
say("list_keys", lambda: sorted(a.list_keys()))
say("clone", lambda: box.update(c=a.clone()))
say("construct without libuv, not waiting", make("d", world_size=2, wait_for_workers=False, use_libuv=False))
say("get of the one without libuv", lambda: box["d"].get("k"))
say("prefix clone", lambda: box.update(e=dist.PrefixStore("p", a).clone()))
p = box["e"]
say("prefix clone get", lambda: p.get("k"))
say("prefix add", lambda: p.add("n", 1))
say("prefix compare_set", lambda: p.compare_set("k", "pv", "pw"))
say("prefix check", lambda: p.check(["k", "zz"]))
say("prefix append", lambda: p.append("k", "x"))
say("prefix multi_set", lambda: p.multi_set(["m1", "m2"], ["1", "22"]))
say("prefix multi_get", lambda: p.multi_get(["m1", "m2"]))
say("prefix delete_key", lambda: p.delete_key("m1"))
say("prefix num_keys", lambda: p.num_keys())
say("prefix queue_push", lambda: p.queue_push("q", "x"))
say("prefix queue_len", lambda: p.queue_len("q"))
say("prefix queue_pop", lambda: p.queue_pop("q"))
say("prefix list_keys", lambda: sorted(p.list_keys()))
say("wait of no keys", lambda: a.wait([]))
say("check of no keys", lambda: a.check([]))
say("multi_get of no keys", lambda: a.multi_get([]))
say("multi_set of no keys", lambda: a.multi_set([], []))
say("set_timeout", lambda: a.set_timeout(ms(150)))
say("get timeout", lambda: a.get("zz"))
say("multi_get timeout", lambda: a.multi_get(["k", "zz"]))
say("queue_pop timeout", lambda: a.queue_pop("zz"))
say("prefix barrier timeout", lambda: dist.PrefixStore("p", a).barrier("br5", 2, ms(150)))
say("add after timeouts", lambda: a.add("n", 1))
say("_splitSet", lambda: store_world.split_set(store_world.Spy(a), "s", b"split"))
say("get of what came split", lambda: b.get("s"))
"""


def k(text):
    raw = text.encode()
    return len(raw).to_bytes(8, "little") + raw


HELLO = bytes.fromhex("00cef7853c")

AFTER = b"\x10" + k("/none")  # a query whose answer, 0, shows when it was executed

# Label, and what a connection of its own sends in one go.
PROBES = [
    ("wrong magic", b"\0\1\2\3\4" + AFTER),
    ("first byte of HTTP", b"GET / HTTP/1.1\r\n\r\n"),
    ("validate twice", HELLO + HELLO),
    ("opcode 19", HELLO + b"\x13"),
    ("opcode 255", HELLO + b"\xff"),
    ("ping before validate", b"\x0d\1\2\3\4"),
    ("get missing", HELLO + b"\x03" + k("/none")),
    ("multi_get one missing", HELLO + b"\x0a" + (2).to_bytes(8, "little") + k("/none") + k("/k")),
    ("check of none", HELLO + b"\x05" + bytes(8)),
    ("wait of none", HELLO + b"\x06" + bytes(8)),
    ("multi_get of none", HELLO + b"\x0a" + bytes(8)),
    ("multi_set of none", HELLO + b"\x0b" + bytes(8) + AFTER),
    ("cancel with nothing pending", HELLO + b"\x0c"),
    ("wait, set, cancel", HELLO + b"\x06" + (1).to_bytes(8, "little") + k("/r1")
     + b"\x01" + k("/r1") + k("") + b"\x0c"),
    ("wait twice on one key, set", HELLO + b"\x06" + (2).to_bytes(8, "little") + k("/r2") * 2
     + b"\x01" + k("/r2") + k("") + AFTER),
    ("wait, then another query", HELLO + b"\x06" + (1).to_bytes(8, "little") + k("/r3") + AFTER),
    ("add on abc", HELLO + b"\x01" + k("/abc") + k("abc") + b"\x04" + k("/abc") + bytes(8)),
    ("add on 12abc", HELLO + b"\x01" + k("/12a") + k("12abc") + b"\x04" + k("/12a") + bytes(8)),
    ("add on empty", HELLO + b"\x01" + k("/emp") + k("") + b"\x04" + k("/emp") + bytes(8)),
    ("add overflow", HELLO + b"\x01" + k("/max") + k("9223372036854775807") + b"\x04" + k("/max")
     + (1).to_bytes(8, "little") + b"\x03" + k("/max")),
    ("add beyond range", HELLO + b"\x01" + k("/out") + k("9223372036854775808") + b"\x04"
     + k("/out") + bytes(8)),
    ("key of 8193", HELLO + b"\x03" + (8193).to_bytes(8, "little")),
    ("value of 8388609", HELLO + b"\x01" + k("/v") + (8388609).to_bytes(8, "little")),
    ("131073 keys", HELLO + b"\x05" + (131073).to_bytes(8, "little")),
    ("barrier of 1", HELLO + b"\x12" + k("/pb") + (1).to_bytes(8, "little")),
    ("barrier of 0", HELLO + b"\x12" + k("/pb0") + bytes(8)),
    ("barrier of -1", HELLO + b"\x12" + k("/pb1") + b"\xff" * 8),
    ("barrier of 2, another query, ended by a set", HELLO + b"\x12" + k("/pb2") + (2).to_bytes(8, "little")
     + AFTER + b"\x01" + k("/pb2") + k("") + AFTER),
    ("barrier on abc", HELLO + b"\x12" + k("/abc") + (1).to_bytes(8, "little")),
    ("empty key", HELLO + b"\x01" + k("") + k("v") + b"\x03" + k("")),
    ("wait for queue and absent key, then set", HELLO + b"\x0e" + k("/qq") + k("i") + b"\x06"
     + (2).to_bytes(8, "little") + k("/qq") + k("/qk") + b"\x01" + k("/qk") + k("") + AFTER),
    ("queue pop drops the queue", HELLO + b"\x0e" + k("/q9") + k("i") + b"\x0f" + k("/q9") + b"\x05"
     + (1).to_bytes(8, "little") + k("/q9")),
    ("compare_set mismatch wakes?", HELLO + b"\x06" + (1).to_bytes(8, "little") + k("/cw")
     + b"\x02" + k("/cw") + k("x") + k("y")),
]


class Relay:
    """Forwards between the client's connections and the server, and keeps what passed."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pairs = {}  # socket -> (other socket, connection number, "c" or "s")
        self.count = 0
        self.events = []  # [connection, "c" or "s", bytes]

    def turn(self, timeout):
        ready, _, _ = select.select([self.listener, *self.pairs], [], [], timeout)
        for s in ready:
            if s is self.listener:
                here, _ = s.accept()
                there = socket.create_connection(("127.0.0.1", self.port))
                self.pairs[here] = (there, self.count, "c")
                self.pairs[there] = (here, self.count, "s")
                self.count += 1
                continue
            other, number, side = self.pairs[s]
            data = s.recv(1 << 20)
            if not data:
                for x in (s, other):
                    del self.pairs[x]
                    x.close()
                break
            other.sendall(data)
            last = self.events[-1] if self.events else None
            if last and last[0] == number and last[1] == side:
                last[2] += data
            else:
                self.events.append([number, side, bytearray(data)])
        return bool(ready)

    def settle(self):
        while self.turn(QUIET_S):
            pass


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def emit(macro, *fields):
    print(f"{macro}({', '.join(fields)})")


def run_client(relay):
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(relay.listener.getsockname()[1]),
                               os.path.dirname(os.path.abspath(__file__))],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    fd = client.stdout.fileno()
    text = b""
    label = ""
    done = False
    while not done:
        while b"\n" not in text:
            if select.select([fd], [], [], 0)[0]:
                more = os.read(fd, 65536)
                if not more:
                    done = True
                    break
                text += more
            relay.turn(0.005)
        if done:
            break
        line, _, text = text.partition(b"\n")
        word, _, rest = line.decode().partition(" ")
        relay.settle()
        if word == "CALL":
            label = rest
            relay.events.clear()
        else:
            print(f"/* {label} -> {rest[:80]} */")
            for number, side, data in relay.events:
                emit("TRACE", str(number), f"'{side}'", quoted(label), quoted(data.hex()))
        client.stdin.write(b"\n")
        client.stdin.flush()
    client.wait(30)


def probe(port, label, data):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(data)
        reply = b""
        closed = False
        end = time.monotonic() + 0.4
        while time.monotonic() < end and not closed:
            if select.select([s], [], [], 0.05)[0]:
                try:
                    more = s.recv(1 << 20)
                except ConnectionResetError:
                    more = b""
                reply += more
                closed = not more
        emit("PROBE", quoted(label), quoted(data.hex()), quoted(reply.hex()),
             "true" if closed else "false")


def main():
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        port = int(server.stdout.readline())
        import torch

        print("/* SPDX-License-Identifier: Apache-2.0 */")
        print(textwrap.dedent(f"""\
            /*
             * Recorded by tests/compat/capture_c10d.py: torch {torch.__version__.split('+')[0]}, client and libuv server.
             * TRACE(connection, 'c' client or 's' server, call, bytes): in order, on one fresh store.
             * PROBE(what, sent, answered, was it closed): each on its own connection, the same store.
             */"""))
        run_client(Relay(port))
        for label, data in PROBES:
            probe(port, label, data)
    finally:
        server.stdin.close()
        server.wait(30)


if __name__ == "__main__":
    main()
