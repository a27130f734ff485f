# SPDX-License-Identifier: Apache-2.0
"""Cases of the store that wait: for keys, queues and each other, in vain and not."""
from __future__ import annotations

import os
import signal
import threading
from typing import Any, Callable

from store_world import Broken, Caller, Spy, World, ms


def case_wait_in_vain(w: World) -> None:
    """Upstream's test_simple_wait and test_tcp_store_timeout_*: giving up leaves the store usable."""
    a = w.connect()
    a.set("k", "v")
    w.times_out("one key", 250, lambda: a.wait(["no"], ms(250)))
    w.step("set and get after it", lambda: (a.set("k2", "v2"), a.get("k2")))
    w.times_out("three keys, one present", 120, lambda: a.wait(["no", "k", "nope"], ms(120)))
    w.times_out("nonsense key", 100, lambda: a.wait(["nonexistent key"], ms(100)))
    w.times_out("0 ms", 0, lambda: a.wait(["no"], ms(0)))
    w.step("get after 0 ms", lambda: a.get("k"))
    w.step("present", lambda: (a.wait(["k"]), a.wait(["k", "k2"], ms(20000)), a.wait(["k", "k"])))
    w.step("0 keys", lambda: (a.wait([]), a.wait([], ms(5000)), a.get("k")))
    a.set_timeout(ms(110))
    w.step("timeout", lambda: a.timeout)
    w.times_out("the store's own timeout", 110, lambda: a.wait(["no"]))
    w.times_out("get", 110, lambda: a.get("no"))
    w.times_out("multi_get", 110, lambda: a.multi_get(["k", "no"]))
    w.times_out("queue_pop", 110, lambda: a.queue_pop("no"))
    w.times_out("barrier", 110, lambda: a.barrier("b", 2))
    w.step("all of it after five", lambda: (
        a.set("k", "w"), a.get("k"), a.add("n", 1), a.check(["no"]), a.num_keys(),
        a.queue_push("no", "x"), a.queue_pop("no"), a.wait(["k"])))
    for k in range(20):
        try:
            a.wait(["no", f"no{k}"], ms(1))
        except Exception:  # of a kind that the steps above compare
            pass
    w.step("after twenty more", lambda: (a.get("k"), a.num_keys()))
    w.step("key comes after the wait", lambda: (a.set("no", "late"), a.get("no"), a.wait(["no"]), a.get("k")))


def case_wait_released(w: World) -> None:
    a, b = w.connect(), w.connect()
    acts: list[tuple[str, Callable[[str], Any]]] = [
        ("set", lambda k: b.set(k, "v")), ("set empty", lambda k: b.set(k, "")),
        ("add", lambda k: b.add(k, 0)), ("append", lambda k: b.append(k, "v")),
        ("compare_set", lambda k: b.compare_set(k, "", "v")),
        ("multi_set", lambda k: b.multi_set(["other", k], ["1", "2"])),
        ("queue_push", lambda k: b.queue_push(k, "v")),
        ("barrier of 1", lambda k: b.barrier(k, 1)),
        ("set through a prefix", lambda k: w.prefix("p", b).set(k, "v"))]
    for name, act in acts:
        key = f"p/{name}" if "prefix" in name else name
        w.released(f"wait, by {name}", lambda: a.wait([key]), lambda: act(name))
        w.step(f"after {name}", lambda: (a.check([key]), a.num_keys()))
    for name, act in acts[:6]:
        w.released(f"get, by {name}", lambda: a.get(f"g {name}"), lambda: act(f"g {name}"))
    w.released("multi_get, by two", lambda: a.multi_get(["m1", "m2"]),
               lambda: (b.set("m1", "1"), b.set("m2", "2")))
    w.released("get through a prefix", lambda: w.prefix("p", a).get("pk"), lambda: b.set("p/pk", "v"))
    w.released("one of two is not enough", lambda: a.wait(["t1", "t2"], ms(500)),
               lambda: b.set("t1", "v"), 500, want="error")
    w.released("the same key twice", lambda: a.wait(["d", "d"]), lambda: b.set("d", "v"))
    w.released("a key that is gone again counts", lambda: a.wait(["x", "y"]),
               lambda: (b.set("x", "v"), b.delete_key("x"), b.set("y", "v")))
    w.released("delete releases nobody", lambda: a.wait(["e"], ms(500)),
               lambda: b.delete_key("e"), 500, want="error")
    w.released("delete and set while waiting", lambda: a.get("f"),
               lambda: (b.delete_key("f"), b.set("f", "v")))
    w.released("another key releases nobody", lambda: a.wait(["h"], ms(500)),
               lambda: (b.set("hh", "v"), b.set("/h", "v"), b.add("h/", 1)), 500, want="error")
    w.step("both go on", lambda: (a.get("t1"), b.get("y"), a.num_keys() == b.num_keys()))


def case_where_servers_differ(w: World) -> None:
    """docs/PROTOCOL-c10d.md, "Differences", as far as a real client can see them."""
    a, b = w.connect(), w.connect()
    w.released("compare_set that stores nothing", lambda: a.wait(["c"], ms(500)),
               lambda: b.compare_set("c", "wrong", "v"), 500, want="any")
    w.step("key after it", lambda: a.check(["c"]))
    b.queue_push("q", "item")
    b.queue_len("q")  # a reply: now it is in the queue
    w.released("non-empty queue and absent key", lambda: a.wait(["q", "k"], ms(500)),
               lambda: b.set("k", "v"), 500, want="any")
    w.step("item is still there", lambda: a.queue_pop("q"))
    w.released("pop", lambda: a.queue_pop("r"), lambda: b.queue_push("r", "1"))
    w.released("released by a push, waiting elsewhere, another push",
               lambda: a.wait(["elsewhere"], ms(500)), lambda: b.queue_push("r", "2"), 500, want="any")


def case_queue_threads(w: World) -> None:
    a, b = w.connect(), w.connect()
    w.released("pop, by push", lambda: a.queue_pop("q"), lambda: b.queue_push("q", "late"))
    w.released("pop of a clone, by push", lambda: a.clone().queue_pop("q2"), lambda: a.queue_push("q2", "x"))
    w.released("pop through a prefix", lambda: w.prefix("p", a).queue_pop("q"), lambda: b.queue_push("p/q", "y"))
    w.released("pop, by set: there is nothing to pop", lambda: a.queue_pop("q3"),
               lambda: b.set("q3", "v"), want="error")
    w.step("bidirectional", lambda: bidirectional(w))
    poppers = [w.connect() for _ in range(4)]
    callers = [Caller(lambda s=s: s.queue_pop("shared")) for s in poppers]
    w.settle(callers)
    for k in range(4):
        b.queue_push("shared", f"item{k}")
    w.step("four wait, four pushed", lambda: sorted(c.finish()[1] for c in callers))
    w.step("nothing is left", lambda: (b.queue_len("shared"), b.check(["shared"])))
    callers = [Caller(lambda s=s: s.queue_pop("one")) for s in poppers]
    w.settle(callers)
    b.queue_push("one", "x")
    b.queue_push("one", "y")
    done = [c for c in callers if c in first_to_end(callers, 2)]
    w.step("two pushes, two of four go on", lambda: (len(done), sorted(c.finish()[1] for c in done)))
    w.settle([c for c in callers if c not in done])
    w.step("the others still wait", lambda: sum(c.is_alive() for c in callers))
    b.queue_push("one", "z")
    b.queue_push("one", "z")
    w.step("until they are pushed for", lambda: sorted(c.finish()[1] for c in callers))


def first_to_end(callers: list[Caller], count: int) -> list[Caller]:
    ended = threading.Event()
    done: list[Caller] = []

    def watch(caller: Caller) -> None:
        caller.join(60)
        if not caller.is_alive():
            done.append(caller)
            if len(done) >= count:
                ended.set()
    for caller in callers:
        threading.Thread(target=watch, args=(caller,), daemon=True).start()
    if not ended.wait(30):
        raise Broken(f"{len(done)} of {count} calls ended within 30 s")
    return done[:count]


def bidirectional(w: World) -> Any:
    """Upstream's test_queues_bidirectional: two clones, each popping what the other pushed."""
    one = w.connect()
    two = one.clone()

    def serve() -> list[bytes]:
        got = []
        for k in range(20):
            got.append(two.queue_pop("there"))
            two.queue_push("back", f"re{k}")
        return got

    def ask() -> list[bytes]:
        got = []
        for k in range(20):
            one.queue_push("there", str(k))
            got.append(one.queue_pop("back"))
        return got
    callers = [Caller(serve), Caller(ask)]
    return [caller.finish()[1] for caller in callers]


def case_many_waiters(w: World) -> None:
    first = w.connect()
    stores = [first.clone() for _ in range(64)]
    for name, act in (("one set", lambda: first.set("one set", "v")), ("one add", lambda: first.add("one add", 3))):
        callers = [Caller(lambda s=s: s.get(name)) for s in stores]
        w.settle(callers)
        waiting = sum(c.is_alive() for c in callers)
        act()
        w.step(f"{name} releases all", lambda: (waiting, {c.finish()[1] for c in callers}))
    callers = [Caller(lambda k=k, s=s: s.get(f"own{k}")) for k, s in enumerate(stores)]
    w.settle(callers)
    first.multi_set([f"own{k}" for k in range(64)], [str(k) for k in range(64)])
    w.step("multi_set, each its own", lambda: [c.finish()[1] for c in callers])
    callers = [Caller(lambda s=s: s.wait(["never"], ms(300))) for s in stores]
    ends = [c.finish() for c in callers]
    w.step("all give up", lambda: sorted({f"{type(e).__name__}: {e}" for _, e in ends}))
    w.step("each goes on", lambda: [s.add("n", 1) for s in stores][-1])
    callers = [Caller(lambda s=s: s.get("gone")) for s in stores[:8]]
    w.settle(callers)
    first.set("gone", "v")
    w.step("released again", lambda: {c.finish()[1] for c in callers})


def case_fixed_and_open_world(w: World) -> None:
    """Upstream's test_multi_worker_with_(non)fixed_world_size."""
    for name, keywords in (("fixed", {"world_size": 5}), ("open", {})):
        def work(k: int) -> Any:
            store = w.connect(**keywords)
            value = store.get(f"{name} key")
            store.set(f"{name}{k}", f"{k}")
            return value, store.compare_set(f"{name}{k}", f"{k}", f"{k}n"), store.get(f"{name}{k}")
        callers = [Caller(lambda k=k: work(k)) for k in range(5)]
        w.settle(callers)
        w.bystander.set(f"{name} key", "v")
        w.step(f"{name} world", lambda: [w.plain(c.finish()[1]) for c in callers])
    w.step("keys", lambda: w.bystander.num_keys())


def case_barriers(w: World) -> None:
    a, b = w.connect(), w.connect()
    w.step("of 1, 0 and -1", lambda: (a.barrier("b1", 1), a.barrier("b0", 0), a.barrier("b-", -1)))
    w.released("of 2", lambda: a.barrier("two", 2), lambda: b.barrier("two", 2))
    w.step("is a counter", lambda: (a.get("two"), a.num_keys(), a.list_keys().count("two")))
    w.step("stays open", lambda: (a.barrier("two", 2), a.get("two")))
    w.times_out("alone", 150, lambda: a.barrier("alone", 2, ms(150)))
    w.times_out("alone, named parameters", 150, lambda: a.barrier(key="alone2", world_size=2, timeout=ms(150)))
    w.times_out("0 ms", 0, lambda: a.barrier("alone3", 2, ms(0)))
    w.step("who gave up counts", lambda: (b.barrier("alone", 2, ms(5000)), b.get("alone")))
    w.step("the store goes on", lambda: (a.set("k", "v"), a.get("k")))
    for name, act in (("set", lambda k: b.set(k, "")), ("add", lambda k: b.add(k, 0)),
                      ("append", lambda k: b.append(k, ""))):
        w.released(f"ended by {name}", lambda: a.barrier(f"e {name}", 9), lambda: act(f"e {name}"))
    w.released("delete does not end it", lambda: a.barrier("gone", 2, ms(500)), lambda: b.delete_key("gone"),
               500, want="error")
    first = w.released("a wait for its key ends at the first", lambda: a.wait(["w"]),
                       lambda: Caller(lambda: w.connect().barrier("w", 1)).finish())
    w.step("which has no value", lambda: first)
    stores = [a.clone() for _ in range(8)]
    for turn in range(3):
        callers = [Caller(lambda s=s: s.barrier(f"eight{turn}", 8)) for s in stores]
        w.step(f"eight threads, turn {turn}", lambda: [c.finish() for c in callers])
    callers = [Caller(lambda s=s: s.barrier("seven of eight", 8, ms(300))) for s in stores[:7]]
    w.step("seven of eight", lambda: sorted({f"{c.finish()[0]} {c.finish()[1]}" for c in callers}))
    w.step("the eighth passes", lambda: stores[7].barrier("seven of eight", 8, ms(5000)))
    p, q = w.prefix("p", a), w.prefix("p", b)
    w.released("through a prefix", lambda: p.barrier("pb", 2), lambda: q.barrier("pb", 2))
    w.step("its keys", lambda: sorted(k for k in a.list_keys() if k.startswith("p/")))
    w.times_out("through a prefix, alone", 150, lambda: p.barrier("pa", 2, ms(150)))
    w.step("then", lambda: (p.set("k", "v"), a.get("p/k")))


def case_two_threads(w: World) -> None:
    """Upstream's TestMultiThreadedWait: on a prefix too; and several threads on one store."""
    def meet(name: str, one: Spy, two: Spy) -> None:
        w.released(f"{name}, thread 1 sets", lambda: one.get("key1"), lambda: two.set("key1", "value1"))
        w.released(f"{name}, thread 0 sets", lambda: two.get("key0"), lambda: one.set("key0", "value0"))
    meet("plain", w.connect(), w.connect())
    meet("prefix", w.prefix("p", w.connect()), w.prefix("p", w.connect()))
    shared = w.connect()
    callers = [Caller(lambda: [shared.add("n", 1) for _ in range(50)]) for _ in range(8)]
    sums = [value for c in callers for value in c.finish()[1]]
    w.step("eight threads add on one store", lambda: (sorted(sums) == list(range(1, 401)), shared.get("n")))


def case_interrupted_wait(w: World) -> None:
    """Upstream's test_interrupt_doesnt_break_wait: SIGUSR1 while the main thread waits."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(writing)  # written to by the handler in C, at once
    main = threading.main_thread()
    a, b = w.connect(), w.connect()
    told: list[bytes] = []

    def interrupt() -> None:
        for _ in range(3):
            w.settle([main])
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
            told.append(os.read(reading, 1))
        w.settle([main])
        b.set("k", "v")
    for name, call in (("wait", lambda: a.wait(["k"], ms(10000))), ("get", lambda: a.get("k"))):
        told.clear()
        b.delete_key("k")
        caller = Caller(interrupt)
        w.step(f"{name}, through three signals", call)
        caller.finish()
        w.step(f"{name}: all were delivered before the key came", lambda: len(told))
    signal.set_wakeup_fd(-1)
    os.close(reading)
    os.close(writing)
    w.step("and goes on", lambda: (a.set("x", "1"), a.get("x")))


def case_closed_while_waiting(w: World) -> None:
    """A client that is gone is forgotten, wherever it waited."""
    a = w.connect()
    for k in range(10):
        gone = w.connect()
        try:
            gone.wait([f"k{k}", "all"], ms(1))
        except Exception:  # which the other cases compare
            pass
        del gone
    w.released("others are released as ever", lambda: a.get("all"), lambda: w.bystander.set("all", "v"))
    w.step("a queue's item goes to who is there", lambda: (a.queue_push("all q", "x"), a.queue_pop("all q")))
