# SPDX-License-Identifier: Apache-2.0
"""Cases of the store that never wait: each call, its values, limits and errors."""
from __future__ import annotations

import os
from typing import Any

import torch.distributed as dist
from store_world import Spy, World, ms, split_set

MIB = 1 << 20
MAX_KEY, MAX_VALUE = 8192, 8 * MIB  # PyTorch's limits, the slash before the key included


def case_values(w: World) -> None:
    a, b = w.connect(), w.connect()
    values: list[tuple[str, Any]] = [
        ("text", "v1"), ("empty", ""), ("unicode", "schlüssel ✓"), ("bytes", b"raw"),
        ("binary", bytes(range(256))), ("zeros", b"\0" * 9), ("1439 bytes", "x" * 1439),
        ("1440 bytes", "x" * 1440), ("1 MB", b"\x17" * 1000000), ("8 MiB", b"\xa5" * MAX_VALUE)]
    for name, value in values:
        w.step(f"set {name}", lambda: a.set(name, value))
        w.step(f"get {name}", lambda: a.get(name))
        raw = value if isinstance(value, bytes) else value.encode()
        w.step(f"{name} came back as it was, to another too", lambda: a.get(name) == b.get(name) == raw)
    w.step("set again", lambda: (a.set("text", "v2"), a.get("text")))  # a reply: now it is set
    w.step("get it", lambda: b.get("text"))
    w.step("list", lambda: sorted(a.list_keys()))


def case_keys(w: World) -> None:
    a = w.connect()
    for name, key in (("empty", ""), ("slash", "/"), ("spaces", " a b "), ("unicode", "ключ"),
                      ("zero byte", "a\0b"), ("minus", "-k"), ("the longest", "k" * (MAX_KEY - 1))):
        w.step(f"set {name}", lambda: a.set(key, name))
        w.step(f"get {name}", lambda: a.get(key))
        w.step(f"check {name}", lambda: a.check([key]))
    w.step("count", lambda: a.num_keys())
    w.step("list", lambda: sorted(k[:40] for k in a.list_keys()))
    w.step("set bytes", lambda: a.set(b"\xff\xfe", b"\0\xff"))
    w.step("get bytes", lambda: a.get(b"\xff\xfe"))
    w.fails("list what is not UTF-8", lambda: a.list_keys())
    w.step("delete bytes", lambda: a.delete_key(b"\xff\xfe"))
    w.step("list again", lambda: len(a.list_keys()))


def case_limits(w: World) -> None:
    def big() -> str:
        return "v" * (MAX_VALUE + 1)
    long = "k" * MAX_KEY
    others = w.connect()
    others.set("k", "v")
    for name, request in (
            ("set, long key", lambda s: s.set(long, "v")),
            ("get, long key", lambda s: s.get(long)),
            ("add, long key", lambda s: s.add(long, 1)),
            ("check, long key", lambda s: s.check(["k", long])),
            ("wait, long key", lambda s: s.wait([long], ms(1000))),
            ("delete_key, long key", lambda s: s.delete_key(long)),
            ("compare_set, long key", lambda s: s.compare_set(long, "", "v")),
            ("append, long key", lambda s: s.append(long, "v")),
            ("queue_push, long key", lambda s: s.queue_push(long, "v")),
            ("queue_pop, long key", lambda s: s.queue_pop(long, False)),
            ("queue_len, long key", lambda s: s.queue_len(long)),
            ("barrier, long key", lambda s: s.barrier(long, 1)),
            ("multi_get, long key", lambda s: s.multi_get(["k", long])),
            ("set, big value", lambda s: s.set("n", big())),
            ("compare_set, big value", lambda s: s.compare_set("n", "", big())),
            ("append, big value", lambda s: s.append("n", big())),
            ("queue_push, big value", lambda s: s.queue_push("n", big())),
            ("multi_set, big value", lambda s: s.multi_set(["n"], [big()])),
            ("check, 131073 keys", lambda s: s.check(["k"] * 131073)),
            ("multi_set, 131073 pairs", lambda s: s.multi_set(["n"] * 131073, [""] * 131073))):
        store = w.connect()
        w.loses(name, store, lambda: request(store))
    w.step("nothing was stored, others go on", lambda: (others.list_keys(), others.queue_len("n")))
    w.step("check, 131072 keys", lambda: others.check(["k"] * 131072))
    w.step("long key through a prefix",
           lambda: w.prefix("p", others).set("k" * (MAX_KEY - 3), "v"))
    w.step("get it", lambda: others.get("p/" + "k" * (MAX_KEY - 3)))
    partly = w.connect()
    w.loses("multi_set, second value too big", partly,
            lambda: partly.multi_set(["one", "two"], ["1", big()]))
    w.step("is the first pair stored?", lambda: others.check(["one"]))
    grower = w.connect()
    for _ in range(7):
        grower.append("grown", "g" * MAX_VALUE)
    w.step("56 MiB by appending", lambda: len(grower.get("grown")))
    grower.append("grown", "g" * MAX_VALUE)
    grower.append("grown", "g")
    w.step("and more than 64", lambda: len(grower.get("grown")), want="any")
    w.step("others go on", lambda: others.get("k"))


def case_counters(w: World) -> None:
    a = w.connect()
    for delta in (5, -7, 0, 2**63 - 1, 1, 2**62, -(2**63)):
        w.step(f"add {delta}", lambda: a.add("n", delta))
        w.step(f"text after {delta}", lambda: a.get("n"))
    w.step("overflow wraps", lambda: (a.set("m", str(2**63 - 1)), a.add("m", 1), a.get("m")))
    for text in ("12abc", "0x10", " 12", "007", "-3", "+4", "\t9", b"5\x006", "-9223372036854775808"):
        w.step(f"add to {text!r}", lambda: (a.set("t", text), a.add("t", 1), a.get("t")))
    for text in ("abc", "", "-", "9223372036854775808", " ", b"\0"):
        store = w.connect()
        store.set("bad", text)
        w.fails(f"add to {text!r}", lambda: store.add("bad", 1))
        w.fails(f"the same store after {text!r}", lambda: store.check(["bad"]))
        w.step(f"{text!r} is still there", lambda: a.get("bad"))
        store = w.connect()
        w.fails(f"barrier on {text!r}", lambda: store.barrier("bad", 1))
    for name, arguments in (("text", ("n", "1")), ("2 ** 63", ("n", 2**63)), ("no key", (None, 1))):
        w.fails(f"add {name}", lambda: a.add(*arguments))


def case_compare_set(w: World) -> None:
    a = w.connect()
    w.step("absent, expected something", lambda: a.compare_set("k", "wrong", "new"))
    w.step("is it there?", lambda: a.check(["k"]))
    w.step("absent, expected empty", lambda: a.compare_set("k", "", "first"))
    w.step("match", lambda: a.compare_set("k", "first", "second"))
    w.step("mismatch", lambda: a.compare_set("k", "first", "third"))
    w.step("what is stored", lambda: a.get("k"))
    w.step("present, expected empty", lambda: a.compare_set("k", "", "x"))
    w.step("empty value, expected empty", lambda: (a.set("e", ""), a.compare_set("e", "", "x")))
    w.step("to empty", lambda: a.compare_set("k", "second", ""))
    w.step("absent, both empty", lambda: (a.compare_set("z", "", ""), a.check(["z"])))
    w.step("bytes", lambda: a.compare_set("b", b"", b"\0\xff"))
    w.step("bytes that match", lambda: a.compare_set("b", b"\0\xff", b"\0"))
    w.step("prefix of the value", lambda: a.compare_set("b", b"", b"y"))
    w.step("1 MB", lambda: len(a.compare_set("m", "", "m" * MIB)))


def case_deletion_and_counts(w: World) -> None:
    """Upstream's test_numkeys_delkeys and test_set_get_check: `init/` is the first key."""
    a = w.connect(world_size=1)
    w.step("a new store", lambda: a.num_keys())
    for delta in (1, 2, 3):
        a.add("key", delta)
    w.step("sum", lambda: a.get("key"))
    for k in range(1, 7):
        a.add("key3", k)
    for k in range(3):
        a.set(f"key{k}", f"value{k}")
    w.step("six", lambda: a.num_keys())
    w.step("values", lambda: [a.get(f"key{k}") for k in range(3)] + [a.get("key3")])
    w.step("check", lambda: (a.check(["key", "key1"]), a.check(["key", "Nokey"]), a.check([])))
    w.step("minus", lambda: (a.set("-key3", "7"), a.get("-key3"), a.num_keys(), a.delete_key("-key3")))
    w.step("back", lambda: a.num_keys())
    w.step("delete twice", lambda: (a.delete_key("key"), a.delete_key("key"), a.num_keys()))
    w.step("init/ is out of reach", lambda: (a.check(["init/"]), a.delete_key("init/"), a.num_keys()))
    a.set_timeout(ms(100))
    w.times_out("get what was deleted", 100, lambda: a.get("key"))
    w.step("the store goes on", lambda: (a.set("key", "again"), a.get("key")))
    w.step("list leaves init/ out", lambda: (len(a.list_keys()), a.num_keys()))


def case_append_and_multi(w: World) -> None:
    a = w.connect()
    w.step("set, append", lambda: (a.set("k", "po"), a.append("k", "tato"), a.get("k")))
    w.step("append, append", lambda: (a.append("l", "po"), a.append("l", "tato"), a.get("l")))
    w.step("append nothing", lambda: (a.append("m", ""), a.check(["m"]), a.get("m")))
    w.step("append bytes", lambda: (a.append("l", b"\0\xff"), a.get("l")))
    w.step("append to a counter", lambda: (a.add("n", 1), a.append("n", "0"), a.add("n", 1)))
    w.step("multi_set", lambda: a.multi_set(["a", "b", "c"], ["1", "", b"\0"]))
    w.step("multi_get", lambda: a.multi_get(["c", "a", "b", "a"]))
    w.step("duplicates, the last wins", lambda: (a.multi_set(["d", "d"], ["1", "2"]), a.get("d")))
    w.step("none", lambda: (a.multi_set([], []), a.multi_get([])))
    w.fails("unequal lengths", lambda: a.multi_set(["a", "b"], ["1"]))
    w.step("after that", lambda: a.get("a"))
    keys = [f"many{k}" for k in range(3000)]
    w.step("3000 pairs", lambda: a.multi_set(keys, keys))
    w.step("3000 values", lambda: a.multi_get(keys) == [k.encode() for k in keys])
    w.step("3000 in the list", lambda: set(keys) <= set(a.list_keys()))


def case_queues(w: World) -> None:
    a = w.connect()
    w.step("unknown", lambda: (a.check(["q"]), a.queue_len("q")))
    w.fails("pop from unknown", lambda: a.queue_pop("q", False))
    w.step("push", lambda: (a.queue_push("q", "a"), a.queue_push("q", b"\0b")))
    w.step("length, present", lambda: (a.queue_len("q"), a.check(["q"]), a.wait(["q"])))
    w.step("no key", lambda: (a.num_keys(), a.list_keys(), a.delete_key("q"), a.queue_len("q")))
    w.step("pop", lambda: (a.queue_pop("q"), a.queue_pop("q", block=False), a.queue_len("q")))
    w.step("gone", lambda: a.check(["q"]))
    w.fails("pop from empty", lambda: a.queue_pop("q", block=False))
    w.step("empty and big items", lambda: (a.queue_push("q", ""), a.queue_push("q", "x" * MIB)))
    w.step("pop them", lambda: (a.queue_pop("q"), len(a.queue_pop("q"))))
    w.step("a key and a queue of one name",
           lambda: (a.set("q", "key"), a.queue_push("q", "item"), a.get("q"), a.queue_pop("q"), a.get("q")))
    a.set_timeout(ms(100))
    w.times_out("pop, blocking, times out", 100, lambda: a.queue_pop("nothing"))
    w.step("after that", lambda: (a.queue_push("nothing", "x"), a.queue_pop("nothing")))
    p = w.prefix("p", a)
    w.step("through a prefix", lambda: (p.queue_push("q", "1"), a.queue_len("p/q"), p.queue_len("q"),
                                        p.queue_pop("q", False), p.queue_len("q")))
    w.fails("pop through a prefix", lambda: p.queue_pop("q", False))


def case_prefixes(w: World) -> None:
    a = w.connect()
    p, inner = w.prefix("p", a), w.prefix("b/", a)
    n = w.prefix("a", inner)
    w.step("set, seen below", lambda: (p.set("k", "1"), n.set("k", "2"), a.get("p/k"), a.get("b//a/k")))
    w.step("every call", lambda: (
        p.get("k"), p.add("n", 2), p.check(["k", "n"]), p.check(["no"]), p.compare_set("k", "1", "3"),
        p.append("k", "4"), p.get("k"), p.multi_set(["x", "y"], ["5", "6"]), p.multi_get(["y", "x"]),
        p.wait(["k"]), p.wait(["k", "x"], ms(5000)), p.delete_key("x"), p.delete_key("x")))
    w.step("whole store's count", lambda: (p.num_keys(), n.num_keys(), a.num_keys()))
    w.step("lists", lambda: (sorted(p.list_keys()), sorted(n.list_keys()), sorted(a.list_keys())))
    w.step("a name that begins alike", lambda: (a.set("pp/k", "v"), sorted(p.list_keys())))
    w.step("empty prefix", lambda: (w.prefix("", a).set("e", "1"), a.get("/e"), w.prefix("", a).get("e")))
    w.step("extended", lambda: (a.has_extended_api(), p.has_extended_api()))
    w.step("below", lambda: (p.underlying_store.get("p/k"), n.underlying_store.get("a/k"),
                             n._underlying_non_prefix_store.get("b//a/k")))
    w.step("types below", lambda: [type(s._store).__name__ for s in (
        n.underlying_store, n._underlying_non_prefix_store, p.underlying_store)])
    w.step("timeout is shared", lambda: (n.set_timeout(ms(130)), n.timeout, inner.timeout, a.timeout))
    w.times_out("get through two", 130, lambda: n.get("nope"))
    w.times_out("wait through two", 90, lambda: n.wait(["nope", "k"], ms(90)))
    w.fails("of nothing", lambda: dist.PrefixStore("p", None))
    c = n.clone()
    w.step("clone", lambda: (type(c._store).__name__, c.get("k"), c.timeout, c.set("c", "v"), a.get("b//a/c")))


def case_clients(w: World) -> None:
    a = w.connect()
    w.step("repr", lambda: repr(a))
    w.step("properties", lambda: (a.host, a.port == w.port, a.libuvBackend, a.timeout, a.has_extended_api()))
    w.step("no key yet", lambda: a.num_keys())
    for name, keywords in (("3", {"world_size": 3}), ("None", {"world_size": None}),
                           ("-1", {"world_size": -1}),
                           ("3, not waiting", {"world_size": 3, "wait_for_workers": False}),
                           ("3, waiting", {"world_size": 3, "wait_for_workers": True})):
        store = w.step(f"world_size {name}", lambda: w.connect(**keywords))
        w.step(f"keys after {name}", lambda: (store.num_keys(), store.list_keys()))
    w.fails("world_size 0", lambda: w.connect(world_size=0))
    for name, keywords in (("multi_tenant", {"multi_tenant": True}), ("a descriptor", {"master_listen_fd": 5}),
                           ("libuv", {"use_libuv": True})):
        w.step(f"client with {name}", lambda: w.connect(**keywords).num_keys())
    old = w.step("client without libuv", lambda: w.connect(use_libuv=False))
    w.step("which works", lambda: (old.libuvBackend, old.set("o", "1"), old.get("o"), old.add("n", 1)))
    w.fails("but has no queues", lambda: old.queue_len("q"))
    w.fails("server on a port that is taken", lambda: w.connect(2, is_master=True))
    w.fails("shared server on it", lambda: w.connect(2, is_master=True, multi_tenant=True))
    c = a.clone()
    w.step("clone", lambda: (repr(c), c.host, c.port == w.port, c.libuvBackend, c.timeout))
    w.step("clone sees the same", lambda: (
        a.set("k", "v"), c.get("k"), c.set("k", "w"), c.get("k"), a.get("k")))
    w.step("clone's timeout is its own", lambda: (c.set_timeout(ms(5000)), c.timeout, a.timeout))
    w.step("clone of a clone outlives both", lambda: outlive(a))
    w.fails("set a number", lambda: a.set("k", 1))
    w.fails("get None", lambda: a.get(None))
    w.step("after errors", lambda: a.get("k"))


def outlive(store: Spy) -> Any:
    first = store.clone()
    second = first.clone()
    del first
    return second.get("k")


def case_agent_store(w: World) -> None:
    """The switch by which a worker uses its agent's store although it was told to host one."""
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="1", MASTER_PORT=str(w.port))
    try:
        store = w.step("master on the agent's port", lambda: w.connect(is_master=True, wait_for_workers=False))
        w.step("is a client", lambda: (repr(store), store.set("k", "v"), store.get("k"), w.bystander.get("k")))
    finally:
        del os.environ["TORCHELASTIC_USE_AGENT_STORE"], os.environ["MASTER_PORT"]


def case_split_set(w: World) -> None:
    a, b = w.connect(), w.connect()
    w.released("get of another, while it comes in two parts", lambda: b.get("s"),
               lambda: split_set(a, "s", b"split \0 value"))
    w.step("the sender goes on", lambda: (a.get("s"), a.set("s", "2"), a.get("s"), b.get("s")))
