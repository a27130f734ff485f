# SPDX-License-Identifier: Apache-2.0
"""--launch ssh with OpenSSH: a server on loopback, whose addresses are three hosts."""
from __future__ import annotations

import os
import re
import signal
import time

from hosts import Hosts
from launch import HOSTS, Sshd, children_of, launch
from muster import PATIENCE, Case, expect, free_port, need_file
from procs import Proc, wait_for
from test_torch import SCRIPT, torch_python

LIMIT = 300
EIGHT = [f"{host} slots=8" for host in HOSTS]
TWO = [f"{host} slots=2" for host in HOSTS]


def test_twenty_four_workers_finish(t: Case) -> None:
    job = launch(t, ["root@127.0.0.1 slots=8", *EIGHT[1:]], ssh=Sshd(t).command())
    workers = t.workers(24)
    for rank, worker in workers.items():
        expect(worker.env["GROUP_RANK"] == str(rank // 8), f"rank {rank} is on node {worker.node}")
        expect(worker.env["LOCAL_WORLD_SIZE"] == "8", worker.env["LOCAL_WORLD_SIZE"])
    t.go()
    job.expect(0, 30 * PATIENCE)


def test_torch_trains(t: Case) -> None:
    need_file(SCRIPT)
    job = launch(t, TWO, ["--python", torch_python()], [SCRIPT], ssh=Sshd(t).command(), plain=False)
    job.expect(0, 200 * PATIENCE)
    losses = dict(re.findall(r"rank (\d+) final loss (\S+)", job.out))
    expect(len(losses) == 6 and len(set(losses.values())) == 1, f"{losses}\n{job.out}")


def test_a_failure_is_everybodys(t: Case) -> None:
    job = launch(t, EIGHT, ssh=Sshd(t).command())
    workers = t.workers(24)
    t.tell("exit.0.9", "7")
    job.expect(7, 30 * PATIENCE)
    expect("rank 9 on 127.0.0.2" in job.err, job.err)
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_the_launcher_is_killed(t: Case) -> None:
    job = launch(t, EIGHT, ssh=Sshd(t).command())
    workers = t.workers(24)
    job.signal(signal.SIGKILL)
    job.wait()
    t.wait_gone([w.pid for w in workers.values()], "all workers", 20)
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGTERM], f"rank {rank} got {t.signals_of(worker)}")


def test_a_connection_is_cut(t: Case) -> None:
    job = launch(t, TWO, ["--grace", "2s"], ssh=Sshd(t).command())
    workers = t.workers(6)
    os.kill(children_of(job)[1], signal.SIGKILL)
    job.wait(60 * PATIENCE)
    expect(job.wait() != 0, "the job has failed, but its status is 0")
    expect("the ssh to it was ended by signal 9" in job.err, job.err)
    t.wait_gone([w.pid for w in workers.values()], "all workers", 20)


def on_three_networks(t: Case, options: list[str]) -> tuple[Hosts, Proc]:
    hosts = Hosts(t)
    ssh = Sshd(t, hosts).command()
    job = launch(t, [f"10.77.0.{k} slots=2" for k in (1, 2, 3)], options, ssh=ssh, wrapper=hosts.wrapper(1))
    t.workers(6, timeout=30)
    return hosts, job


def test_three_networks(t: Case) -> None:
    _, job = on_three_networks(t, [])
    t.go()
    job.expect(0, 20 * PATIENCE)


def test_a_host_falls_silent(t: Case) -> None:
    """Its ssh knows nothing of it, but the coordinator does, and nobody waits for that ssh for ever."""
    hosts, job = on_three_networks(t, ["--node-timeout", "2s", "--grace", "1s"])
    hosts.fault(3, "cut")
    job.expect(1, 60 * PATIENCE)
    expect(re.search(r"10\.77\.0\.3 .*(lost|not been heard)", job.err), job.err)
    wait_for(lambda: not [pid for k in (1, 2, 3) for pid in hosts.pids(k) if is_worker(pid)],
             "all workers to be gone", 60 * PATIENCE)


def is_worker(pid: int) -> bool:
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "e2e_worker"
    except OSError:
        return False


def test_a_signal_ends_it_once(t: Case) -> None:
    job = launch(t, TWO, ssh=Sshd(t).command())
    workers = t.workers(6)
    job.signal(signal.SIGINT)
    job.expect(130, 20 * PATIENCE)
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGINT], f"rank {rank} got {t.signals_of(worker)}")


def test_who_cannot_log_in_is_told_what_to_do(t: Case) -> None:
    """A wrong key, a server that is not known, a host without one: nothing asks, nothing hangs."""
    server = Sshd(t)
    for ssh, words in (
            (server.command(key="stranger"), r"127\.0\.0\.\d: ssh cannot log in \(.*Permission denied.*"
                                             r"\): .* `ssh-copy-id 127\.0\.0\.\d`"),
            (server.command(known="nobody_known"), r"cannot log in \(Host key verification failed\.\): "
                                                   r".* run `ssh 127\.0\.0\.\d` once and accept it"),
            (server.command(port=free_port()), r"cannot log in \(.*Connection refused\): no ssh server")):
        since = time.monotonic()
        job = launch(t, TWO, ssh=ssh)
        job.expect(1, 20 * PATIENCE)
        expect(time.monotonic() - since < 10 * PATIENCE, f"it took {time.monotonic() - since:.1f} s")
        expect(re.search(words, job.err), f"no /{words}/ in:\n{job.err}")
        expect(not t.worker_files(0), "workers were started")


def test_one_of_three_is_not_there(t: Case) -> None:
    job = launch(t, [*TWO, "127.0.0.9"], ssh=Sshd(t).command())
    job.expect(1, 20 * PATIENCE)
    expect("127.0.0.9: ssh cannot log in" in job.err, job.err)
    expect("nothing was started on any of the 4 hosts" in job.err, job.err)
    expect(not t.worker_files(0), "workers were started")


def test_secrets_of_the_environment_do_not_pass_a_shell(t: Case) -> None:
    job = launch(t, TWO, ["--export", "SECRET,E2E_DIR,TMPDIR"], ssh=Sshd(t).command(),
                 env={"SECRET": "a 'b' \"c\" $d `e`", "MUSTER_MAX_RESTARTS": "1"})
    workers = t.workers(6)
    expect(all(w.env["SECRET"] == "a 'b' \"c\" $d `e`" for w in workers.values()), "SECRET differs")
    expect(all(w.env["TORCHELASTIC_MAX_RESTARTS"] == "1" for w in workers.values()), "MUSTER_ is lost")
    t.go()
    job.expect(0, 20 * PATIENCE)
    wait_for(lambda: not job.is_running(), "the launcher's end")


SAVES = r"""
trap 'for i in 1 2 3 4 5; do echo "saving $i"; echo "saving $i" >&2; sleep 0.1; done
      touch "$E2E_DIR/saved.$RANK"; exit 0' TERM
touch "$E2E_DIR/up.$RANK"
while :; do sleep 0.1; done
"""


def test_workers_may_write_after_the_connection_has_gone(t: Case) -> None:
    """What they write goes nowhere, but they have their grace time and live to use it."""
    job = launch(t, TWO, [], ["sh", "-c", SAVES], ssh=Sshd(t).command())
    wait_for(lambda: len(list(t.job_dir.glob("up.*"))) == 6, "6 workers", 20 * PATIENCE)
    job.signal(signal.SIGKILL)
    job.wait()
    wait_for(lambda: len(list(t.job_dir.glob("saved.*"))) == 6, "6 saved states", 20 * PATIENCE)
