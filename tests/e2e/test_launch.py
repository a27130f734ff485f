# SPDX-License-Identifier: Apache-2.0
"""--launch ssh without a server: what agents are told, and what the end of one means."""
from __future__ import annotations

import os
import signal
import time

from launch import HOSTS, command_lines, fake_ssh, launch
from muster import MUSTER, PATIENCE, WORKER, Case, expect
from procs import wait_for
from terminal import Terminal

EIGHT = [f"{host} slots=8" for host in HOSTS]
TWO = [f"{host} slots=2" for host in HOSTS]


def test_every_host_gets_its_place(t: Case) -> None:
    sizes = ["127.0.0.1 slots=2", "127.0.0.2 slots=3", "127.0.0.3"]
    odd = ["a b", "it's", 'say "x"', "line\nbreak", "$HOME `id` \\ !", "", "-x", "--"]
    script = ('line=$(printf "%s|" "$RANK/$WORLD_SIZE" "$GROUP_RANK" "$LOCAL_WORLD_SIZE" "$PWD" '
              '"$SECRET" "$MUSTER_LAUNCH$MUSTER_HOSTFILE" "$@" | tr "\\n" "~"); echo "$line"')
    job = launch(t, sizes, ["--export", "SECRET,TMPDIR,E2E_DIR"], ["sh", "-c", script, "sh", *odd],
                 ssh=fake_ssh(t), env={"SECRET": "ab 'c' \"d\" $e\nf"})
    job.expect(0, 30 * PATIENCE)
    lines = sorted(job.out.splitlines())
    expect(len(lines) == 6, f"{len(lines)} lines:\n{job.out}")
    tail = "|".join([str(t.dir), "ab 'c' \"d\" $e~f", "", *odd]).replace("\n", "~") + "|"
    for rank, line in enumerate(lines):
        node, size = ((0, 2), (0, 2), (1, 3), (1, 3), (1, 3), (2, 1))[rank]
        expect(line == f"{rank}/6|{node}|{size}|{tail}", f"{line!r}, not {rank}/6|{node}|{size}|{tail}")
    expect("Welcome" not in job.out + job.err, f"noise of a login shell: {job.out}{job.err}")


def test_secrets_are_on_no_command_line(t: Case) -> None:
    job = launch(t, TWO, ["--export", "SECRET,E2E_DIR,TMPDIR"], ssh=fake_ssh(t),
                 env={"SECRET": f"secret-{t.mark}", "MUSTER_SPARE": f"spare-{t.mark}"})
    workers = t.workers(6)
    expect(all(w.env["SECRET"] == f"secret-{t.mark}" for w in workers.values()), "not handed over")
    seen = [line for line in command_lines() if f"secret-{t.mark}" in line]
    expect(not seen, f"a secret is on a command line: {seen}")
    t.go()
    job.expect(0, 30 * PATIENCE)


def test_a_failure_is_everybodys(t: Case) -> None:
    job = launch(t, EIGHT, ssh=fake_ssh(t))
    workers = t.workers(24)
    t.tell("exit.0.17", "7")
    job.expect(7, 30 * PATIENCE)
    expect("rank 17 on 127.0.0.3" in job.err, job.err)
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_output_of_many_is_not_mixed(t: Case) -> None:
    """Also where a line is written in pieces."""
    script = ('for i in $(seq 100); do printf "line $i "; printf "of $RANK"; '
              'printf "%0200d\\n" 7; echo "err $i of $RANK" >&2; done')
    job = launch(t, EIGHT, ["--log-level", "error"], ["sh", "-c", script], ssh=fake_ssh(t))
    job.expect(0, 60 * PATIENCE)
    for text, wanted in ((job.out, {f"line {i} of {r}{7:0200d}" for i in range(1, 101) for r in range(24)}),
                         (job.err, {f"err {i} of {r}" for i in range(1, 101) for r in range(24)})):
        lines = [line for line in text.splitlines() if line and not line.startswith("muster")]
        expect(len(lines) == len(wanted) and set(lines) == wanted, f"{len(lines)} lines, some mixed")


def test_a_hundred_hosts(t: Case) -> None:
    hosts = [f"127.0.1.{i}" for i in range(1, 101)]
    job = launch(t, hosts, ["--rdzv-endpoint", f"127.0.0.1:{t.port}"],
                 ["sh", "-c", 'echo "$RANK $GROUP_RANK $WORLD_SIZE"'], ssh=fake_ssh(t))
    job.expect(0, 120 * PATIENCE)
    expect(sorted(job.out.splitlines()) == sorted(f"{i} {i} 100" for i in range(100)), job.out)


def test_a_host_that_fails_leaves_nothing_behind(t: Case) -> None:
    ssh = fake_ssh(t)
    for host, words in (("refused1", "refused1: "), ("missing1", "muster must have the same path"),
                        ("shell1", "the login shell ended with exit status 3")):
        since = time.monotonic()
        job = launch(t, [*TWO, host], ssh=ssh)
        job.expect(1, 20 * PATIENCE)
        expect(time.monotonic() - since < 10 * PATIENCE, f"it took {time.monotonic() - since:.1f} s")
        expect(words in job.err and host in job.err, job.err)
        expect("nothing was started on any of the 4 hosts" in job.err, job.err)
        expect(not t.worker_files(0), "workers were started")
        t.assert_no_leftovers()


def test_a_silent_host_is_given_up_with_the_one_that_failed(t: Case) -> None:
    job = launch(t, [*TWO, "silent1", "refused1"], ssh=fake_ssh(t))
    job.expect(1, 20 * PATIENCE)
    expect("2 of 5 hosts" not in job.err and "waiting for silent1" in job.err, job.err)


def test_the_end_of_the_launcher_ends_the_job(t: Case) -> None:
    job = launch(t, EIGHT, ssh=fake_ssh(t))
    workers = t.workers(24)
    job.signal(signal.SIGKILL)
    job.wait()
    t.wait_gone([w.pid for w in workers.values()], "all workers", 20)
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGTERM], f"rank {rank} got {t.signals_of(worker)}")
    t.assert_no_leftovers(10)


def test_an_end_signal_reaches_every_worker_once(t: Case) -> None:
    job = launch(t, EIGHT, ssh=fake_ssh(t))
    workers = t.workers(24)
    job.signal(signal.SIGTERM)
    job.expect(143, 20 * PATIENCE)
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGTERM], f"rank {rank} got {t.signals_of(worker)}")


def test_user_signals_are_passed_on(t: Case) -> None:
    job = launch(t, TWO, ssh=fake_ssh(t))
    workers = t.workers(6)
    job.signal(signal.SIGUSR1)
    wait_for(lambda: all(t.signals_of(w) == [signal.SIGUSR1] for w in workers.values()),
             "SIGUSR1 at every worker", 20 * PATIENCE)
    t.go()
    job.expect(0, 20 * PATIENCE)


def test_a_signal_while_hosts_are_reached(t: Case) -> None:
    job = launch(t, [*TWO, "silent1"], ssh=fake_ssh(t))
    wait_for(lambda: os.path.exists(t.env["FAKE_LOG"]), "the first ssh")
    job.signal(signal.SIGINT)
    job.expect(130, 20 * PATIENCE)
    expect(not t.worker_files(0), "workers were started")


def test_ctrl_c_once_and_twice(t: Case) -> None:
    """The ssh processes are not the terminal's: the job ends by the first, its workers do not."""
    ssh = fake_ssh(t)
    hosts = t.dir / "hosts"
    hosts.write_text("".join(f"{line}\n" for line in TWO))
    terminal = Terminal(t)
    terminal.run([MUSTER, "run", "--launch", "ssh", "--ssh-command", ssh, "--hostfile", str(hosts),
                  "--export", "E2E_DIR,TMPDIR", "--master-port", str(t.port), "--grace", "60s",
                  "--no-python", WORKER, "--ignore-term"])
    wait_for(lambda: len(t.worker_files(0)) == 6, "6 workers", 20 * PATIENCE)
    workers = t.workers(6)
    terminal.type("\x03")
    wait_for(lambda: all(t.signals_of(w) == [signal.SIGINT] for w in workers.values()),
             "SIGINT at every worker, once", 20 * PATIENCE)
    terminal.type("\x03")
    expect(terminal.status() == 130, "muster did not end with 130")
    t.wait_gone([w.pid for w in workers.values()], "all workers")


def test_wrong_command_lines(t: Case) -> None:
    ssh = fake_ssh(t)
    for options, words in (
            (["--nnodes", "2"], "has 3 hosts, but --nnodes 2 was given"),
            (["--standalone"], "--standalone is for one node"),
            (["--export", "NOT_THERE"], "--export: NOT_THERE is not set here"),
            (["--ssh-command", "ssh 'x"], "has a quote without its end"),
            (["--hostfile", "/not/there"], "/not/there: No such file")):
        job = launch(t, TWO, options, ssh=ssh)
        job.expect(2)
        expect(words in job.err, job.err)
    expect(not os.path.exists(t.env["FAKE_LOG"]), "an ssh was started")
