# SPDX-License-Identifier: Apache-2.0
"""`muster check` on three hosts (network namespaces): one thing is wrong each time, that is found, and
nothing else is. What the machine itself lacks is found once, alone, and does not count."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Optional, Sequence

from hosts import Hosts
from muster import BUILD, MUSTER, PATIENCE, Case, expect, need_tools
from procs import Proc, Skip

LIMIT = 120
WALL_CLOCK = str(BUILD / "fake/wall_clock.so")
SANITIZED = BUILD.name in ("asan", "tsan")
PORT = 29500
Finding = tuple[str, str, tuple[str, ...]]  # severity, check, nodes


def findings(text: str) -> list[Finding]:
    document = json.loads(text)
    return sorted((f["severity"], f["check"], tuple(f["nodes"])) for f in document["findings"])


def of_machine(t: Case, options: Sequence[str] = ()) -> set[str]:
    """What is found on this machine anyway: the names of the checks."""
    alone = t.run("check", "--json", "--standalone", "--nnodes", "1", *options)
    return {check for _, check, _ in findings(alone.out)}


class Checked:
    """Three hosts, and a check of them."""

    def __init__(self, t: Case) -> None:
        self.case = t
        self.hosts = Hosts(t)
        self.procs: dict[int, Proc] = {}

    def block(self, host: int, rule: str) -> None:
        """A rule for what comes in on a host."""
        need_tools("nft")
        table = ("add table inet t; add chain inet t i { type filter hook input priority 0; policy accept; };"
                 f"add rule inet t i {rule}")
        done = subprocess.run(["ip", "netns", "exec", f"{self.hosts.id}-h{host}", "nft", table],
                              env={**os.environ, "PATH": "/usr/sbin:/sbin:" + os.environ["PATH"]},
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Skip(f"nftables do not work here: {done.stderr.strip()}")

    def start(self, options: Sequence[str] = (), env: Optional[dict[int, dict[str, str]]] = None,
              wrappers: Optional[dict[int, list[str]]] = None, hosts: Sequence[int] = (1, 2, 3),
              command: Sequence[str] = ("check", "--json"), program: Sequence[str] = ()) -> None:
        for k in hosts:
            argv = [*self.hosts.wrapper(k), *(wrappers or {}).get(k, []), MUSTER, *command, "--nnodes", "3",
                    "--rdzv-endpoint", f"host1:{PORT}", *options, *program]
            self.procs[k] = self.case.spawn(f"host{k}", argv, (env or {}).get(k))

    def expect(self, expected: Sequence[Finding], options: Sequence[str] = (), timeout: float = 40) -> dict[str, Any]:
        """Of every node the same exit status, of the first the findings that are expected."""
        is_bad = any(severity == "error" for severity, _, _ in expected)
        for proc in self.procs.values():
            proc.expect(1 if is_bad else 0, timeout)
        known = of_machine(self.case, options) - {check for _, check, _ in expected}
        got = [f for f in findings(self.procs[1].out) if f[1] not in known]
        expect(got == sorted(expected), f"found {got}, expected {sorted(expected)}:\n{self.procs[1].out[:4000]}")
        for k in set(self.procs) - {1}:
            expect(self.procs[k].out == "", f"host{k} printed a report as well: {self.procs[k].out}")
        document = json.loads(self.procs[1].out)
        assert isinstance(document, dict)
        return document

    def found(self, document: dict[str, Any], check: str) -> str:
        return " ".join(f["found"] for f in document["findings"] if f["check"] == check)


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


# ---- nothing is wrong ----

def test_healthy(t: Case) -> None:
    c = Checked(t)
    began = time.monotonic()
    c.start()
    for proc in c.procs.values():
        proc.wait()
    took = time.monotonic() - began
    document = c.expect([])
    expect(took < 3 * PATIENCE, f"three healthy nodes took {took:.1f} s")
    expect(len(document["connections"]) == 6 and document["missing"] == [], f"covered: {document['connections']}")
    expect(sorted(document["names"]) == ["host1", "host2", "host3"], f"names: {document['names']}")
    expect(all(p.err == "" for p in c.procs.values()), "something was said of healthy nodes")


def test_text_for_people(t: Case) -> None:
    c = Checked(t)
    c.block(3, "ct state new meta l4proto tcp iifname eth0 drop")
    c.start(command=["check"])
    for proc in c.procs.values():
        proc.expect(1, 30)
    out = c.procs[1].out
    expect("error: host3: no other node can connect to it at 10.77.0.3: no answer" in out, out)
    expect("6 of 6 connections between nodes probed" in out and len(out.splitlines()) < 25, out)


def test_one_node_alone(t: Case) -> None:
    done = t.run("check", "--json")
    expect(done.wait() in (0, 1), f"exit status {done.wait()}")
    document = json.loads(done.out)
    expect(document["nodes"] == 1 and document["connections"] == [], done.out[:500])


def loopback(t: Case, count: int, options: Sequence[str] = ()) -> tuple[list[Proc], float]:
    began = time.monotonic()
    procs = [t.spawn(f"node{k}", [MUSTER, "check", "--json", "--nnodes", str(count), "--node-name", f"node{k}",
                                  "--rdzv-endpoint", f"127.0.0.1:{t.port}", *options])
             for k in range(1, count + 1)]
    for proc in procs:
        proc.wait(60 * PATIENCE)
    return procs, time.monotonic() - began


def test_three_agents_on_loopback(t: Case) -> None:
    known = of_machine(t)
    procs, _ = loopback(t, 3)
    got = [f for f in findings(procs[0].out) if f[1] not in known]
    expect(got == [], f"found {got}")
    expect(len({p.wait() for p in procs}) == 1, "exit statuses differ")


def test_many_agents_on_loopback(t: Case) -> None:
    known = of_machine(t)
    procs, _ = loopback(t, 24)
    reports = [p.out for p in procs if p.out]
    expect(len(reports) == 1, f"{len(reports)} reports")
    document = json.loads(reports[0])
    expect(len(document["connections"]) == 24 * 23, f"{len(document['connections'])} connections")
    got = [f for f in findings(reports[0]) if f[1] not in known]
    expect(got == [], f"found {got}")


# ---- the network ----

def test_incoming_dropped(t: Case) -> None:
    c = Checked(t)
    c.block(3, "ct state new meta l4proto tcp iifname eth0 drop")
    c.start()
    document = c.expect([("error", "reach", ("host3",))])
    expect("no other node can connect to it at 10.77.0.3: no answer" in c.found(document, "reach"), str(document))


def test_incoming_rejected(t: Case) -> None:
    c = Checked(t)
    c.block(2, "ct state new meta l4proto tcp iifname eth0 reject")
    c.start()
    document = c.expect([("error", "reach", ("host2",))])
    expect("at 10.77.0.2: refused" in c.found(document, "reach"), str(document["findings"]))


def test_one_pair_one_way(t: Case) -> None:
    c = Checked(t)
    c.block(3, "ct state new ip saddr 10.77.0.2 meta l4proto tcp drop")
    c.start()
    document = c.expect([("error", "reach", ("host3",))])
    expect("host2 cannot connect to it at 10.77.0.3: no answer (the other way works)"
           in c.found(document, "reach"), str(document["findings"]))


def test_one_pair_both_ways(t: Case) -> None:
    c = Checked(t)
    c.block(3, "ip saddr 10.77.0.2 drop")
    c.start()
    document = c.expect([("error", "reach", ("host2", "host3"))])
    expect("they cannot connect to each other, at 10.77.0.2 and 10.77.0.3: no answer" in c.found(document, "reach"),
           str(document["findings"]))


def test_all_ports_but_the_coordinators(t: Case) -> None:
    c = Checked(t)
    c.block(1, f"ct state new iifname eth0 tcp dport != {PORT} drop")
    c.start()
    document = c.expect([("error", "reach", ("host1",))])
    expect("at 10.77.0.1: no answer" in c.found(document, "reach"), str(document["findings"]))


def coordinator_port(t: Case, how: str, words: str) -> None:
    c = Checked(t)
    c.block(1, f"ip saddr 10.77.0.2 tcp dport {PORT} {how}")
    c.start()
    document = c.expect([("error", "coordinator", ("host2",))])
    expect(f"it cannot connect to the coordinator's port, 10.77.0.1:{PORT}: {words}"
           in c.found(document, "coordinator"), str(document["findings"]))
    expect(f"cannot connect to the coordinator's port {PORT} at host1" in c.procs[2].err, c.procs[2].err)


def test_coordinators_port_dropped_for_one(t: Case) -> None:
    coordinator_port(t, "drop", "no answer")


def test_coordinators_port_rejected_for_one(t: Case) -> None:
    coordinator_port(t, "reject with tcp reset", "refused")


def test_coordinators_port_rejected_by_icmp(t: Case) -> None:
    coordinator_port(t, "reject", "refused")


def test_no_way_to_the_coordinators_host(t: Case) -> None:
    c = Checked(t)
    c.block(1, "ct state new ip saddr 10.77.0.2 drop")
    c.start(["--join-timeout", "8s"])
    document = c.expect([("error", "missing", ())])
    expect("1 node did not come within 8 s" in c.found(document, "missing"), str(document["findings"]))
    expect(f"could not reach the coordinator at host1:{PORT}" in c.procs[2].err and "no answer" in c.procs[2].err,
           c.procs[2].err)


def test_slow_network_is_no_wrong_clock(t: Case) -> None:
    c = Checked(t)
    c.hosts.fault(3, "delay", "100")
    c.start()
    document = c.expect([("warning", "delay", ("host3",))], timeout=60)
    expect("between it and every other node takes 2" in c.found(document, "delay"), str(document["findings"]))


def test_node_never_started(t: Case) -> None:
    c = Checked(t)
    c.start(["--join-timeout", "4s"], hosts=(1, 2))
    document = c.expect([("error", "missing", ())])
    expect(len(document["connections"]) == 2, "those who came were not probed")


# ---- the nodes ----

def test_wrong_clock(t: Case) -> None:
    if SANITIZED:
        raise Skip("a sanitizer's library must come first, so the clock's cannot be preloaded")
    offset = t.dir / "offset"
    offset.write_text("3600")
    c = Checked(t)
    c.start(env={2: {"LD_PRELOAD": WALL_CLOCK, "FAKE_WALL_CLOCK": str(offset)}})
    document = c.expect([("error", "clock", ("host2",))])
    expect("60 min 0 s ahead of" in c.found(document, "clock"), str(document["findings"]))


def test_missing_program(t: Case) -> None:
    executable(t.dir / "bin/nvcc", "#!/bin/sh\necho 'Cuda compilation tools, release 12.8, V12.8.93'\n")
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    if shutil.which("nvcc", path=path) is not None:
        raise Skip("this machine has nvcc where all hosts find it")
    with_nvcc = {"PATH": f"{t.dir / 'bin'}:{path}"}
    c = Checked(t)
    c.start(["--require", "nvcc"], env={1: with_nvcc, 2: with_nvcc, 3: {"PATH": path}})
    c.expect([("error", "require", ("host3",))])


def limited(t: Case, limit: str) -> Checked:
    c = Checked(t)
    c.start(wrappers={3: ["sh", "-euc", f'ulimit {limit}; exec "$@"', "sh"]})
    return c


def test_few_open_files(t: Case) -> None:
    limited(t, "-n 256").expect([("warning", "nofile", ("host3",))])


def test_little_address_space(t: Case) -> None:
    if SANITIZED:
        raise Skip("a sanitizer needs terabytes of address space")
    limited(t, "-v 8000000").expect([("warning", "as", ("host3",))])


def test_small_shared_memory(t: Case) -> None:
    c = Checked(t)
    mount = ["sh", "-euc", 'mount -t tmpfs -o size=16m tmpfs /dev/shm; exec "$@"', "sh"]
    c.start(wrappers={2: mount})
    known = of_machine(t)
    for proc in c.procs.values():
        proc.wait(40)
    got = [f for f in findings(c.procs[1].out) if f[1] == "shm" or f[1] not in known]
    expect([(check, nodes) for _, check, nodes in got] == [("shm", ("host2",))], f"found {got}")


def test_other_script(t: Case) -> None:
    script, other = t.dir / "train.py", t.dir / "other.py"
    script.write_text("print(1)\n")
    other.write_text("print(2)\n")
    c = Checked(t)
    c.start(wrappers={3: ["sh", "-euc", f'mount --bind {other} {script}; exec "$@"', "sh"]},
            program=[str(script)])
    c.expect([("error", "script", ("host3",))])


def test_other_package(t: Case) -> None:
    for version in ("1.0", "2.0"):
        info = t.dir / version / f"muster_e2e-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: muster-e2e\nVersion: {version}\n")
    c = Checked(t)
    c.start(env={k: {"PYTHONPATH": str(t.dir / ("2.0" if k == 2 else "1.0"))} for k in (1, 2, 3)})
    document = c.expect([("warning", "packages", ("host2",))])
    expect("muster-e2e" in c.found(document, "packages"), str(document["findings"]))


def test_no_python(t: Case) -> None:
    path = t.dir / "python"
    executable(path, "#!/bin/sh\nexit 1\n")
    c = Checked(t)
    c.start(env={2: {"PYTHON_EXEC": str(path)}})
    document = c.expect([("error", "python", ("host2",))])
    expect("none that runs" in c.found(document, "python"), str(document["findings"]))


def test_command_line_of_the_job(t: Case) -> None:
    script = t.dir / "train.py"
    script.write_text("print(1)\n")
    logs = str(script / "logs")
    c = Checked(t)
    c.start(["--max-restarts", "3", "--log-dir", logs], program=[str(script), "--lr", "$HOME", "--json"])
    c.expect([("error", "log-dir", ("host1", "host2", "host3"))])


# ---- before a job ----

def test_run_check_and_the_job(t: Case) -> None:
    c = Checked(t)
    mark = t.dir / "ran"
    c.start(command=["run", "--check", "--no-python", "--nproc-per-node", "1"],
            program=["sh", "-c", f"echo $RANK >> {mark}"])
    for proc in c.procs.values():
        proc.expect(0, 40)
        expect("--check: nothing speaks against the job, after" in proc.err, proc.err)
    expect(sorted(mark.read_text().split()) == ["0", "1", "2"], mark.read_text())


def test_run_check_starts_nothing(t: Case) -> None:
    c = Checked(t)
    c.block(3, "ct state new meta l4proto tcp iifname eth0 drop")
    mark = t.dir / "ran"
    c.start(command=["run", "--check", "--no-python", "--nproc-per-node", "1"], program=["touch", str(mark)])
    for proc in c.procs.values():
        proc.expect(1, 40)
        expect("--check: nothing is started" in proc.err, proc.err)
        expect("failed" not in proc.err, f"a finding was told as a failed job: {proc.err}")
    expect("no other node can connect to it at 10.77.0.3" in c.procs[1].out, c.procs[1].out)
    expect(not mark.exists(), "the job was started")


def test_usage_errors_end_at_once(t: Case) -> None:
    c = Checked(t)
    began = time.monotonic()
    c.start(["--iface", "nosuch0"])
    for k, proc in c.procs.items():
        proc.expect(2)
        expect("nosuch0" in proc.err, f"host{k}: {proc.err}")
    expect(time.monotonic() - began < 5 * PATIENCE, "it was waited for something")
