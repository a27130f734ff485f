# SPDX-License-Identifier: Apache-2.0
"""What the workers write: consoles, log files, filters; slow, closed and full ones."""
from __future__ import annotations

import fcntl
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional, Sequence

from muster import BUILD, MUSTER, PATIENCE, Case, expect
from procs import Failure, Proc, wait_for
from test_store import QUIET
from test_torch import torch_python

LIMIT = 120
LIMITS = {"test_layout_and_lines_are_torchruns": 300}
TALKER = str(BUILD / "workers/talker")
SPEAK = ('printf "out $RANK\\n"; printf "err $RANK\\n" >&2; printf "pro\\rgress\\rdone\\r\\n"; '
         'printf "x\\377y\\n"; printf last')


def script(t: Case, name: str, text: str) -> str:
    path = t.dir / name
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return str(path)


def run(t: Case, nproc: int, options: Sequence[str], program: Sequence[str], status: int = 0,
        env: Optional[dict[str, str]] = None) -> Proc:
    logs = [] if "--log-dir" in options else ["--log-dir", str(t.dir / "logs")]
    proc = t.run("run", "--nproc-per-node", str(nproc), *logs, *options, "--no-python", *program,
                 timeout=60, env=env)
    expect(proc.wait() == status, f"status {proc.wait()}, not {status}: {proc.err}")
    return proc


def run_dir(base: Path) -> Path:
    dirs = sorted(base.iterdir(), key=lambda path: path.stat().st_mtime)
    expect(len(dirs) > 0, f"no run directory in {base}")
    return dirs[-1]


def tree(base: Path) -> dict[str, bytes]:
    """The files of the last run by their names in its directory."""
    top = run_dir(base)
    return {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}


def attempt(t: Case, n: int = 0) -> Path:
    return run_dir(t.dir / "logs") / f"attempt_{n}"


class Piped:
    """muster with its standard output in a pipe that this test reads when it likes."""

    def __init__(self, t: Case, nproc: int, options: Sequence[str], program: Sequence[str],
                 stderr: Optional[int] = None, size: int = 0) -> None:
        read_end, write_end = os.pipe()
        if size > 0:
            fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, size)
        self.err_path = t.dir / "piped.err"
        argv = [MUSTER, "run", "--nproc-per-node", str(nproc), "--log-dir", str(t.dir / "logs"),
                *options, "--no-python", *program]
        with open(self.err_path, "ab") as err:
            self.popen = subprocess.Popen(argv, env=t.env, stdin=subprocess.DEVNULL, cwd=t.dir,
                                          stdout=write_end, start_new_session=True,
                                          stderr=write_end if stderr == subprocess.STDOUT else err)
        os.close(write_end)
        self.fd = read_end
        self.data = bytearray()

    @property
    def err(self) -> str:
        return self.err_path.read_text(errors="replace")

    def read(self, timeout: float, want: bytes = b"") -> bytearray:
        """What comes until `want` is there, the end, or the timeout; all of it so far."""
        end = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.fd, selectors.EVENT_READ)
            while (not want or want not in self.data) and time.monotonic() < end:
                if not selector.select(max(0.0, end - time.monotonic())):
                    break
                chunk = os.read(self.fd, 1 << 20)
                if not chunk:
                    break
                self.data += chunk
        if want and want not in self.data:
            raise Failure(f"{want!r} did not come within {timeout:g} s: {self.data[-300:]!r}")
        return self.data

    def finish(self, status: int = 0, timeout: float = 30.0) -> bytearray:
        data = self.read(timeout * PATIENCE)
        os.close(self.fd)
        got = self.popen.wait(timeout * PATIENCE)
        expect(got == status, f"status {got}, not {status}: {self.err}")
        return data


# ---- layout ----

def test_tee_writes_prefixed_lines_and_files(t: Case) -> None:
    proc = run(t, 2, ["--tee", "3"], ["sh", "-c", SPEAK])
    out = proc.out_path.read_bytes()
    body = b"out %d\npro\rgress\rdone\r\nx\xffy\nlast"
    for rank in (0, 1):
        p = b"[default%d]:" % rank
        expect(p + b"out %d\n" % rank in out, f"no line of rank {rank}: {out!r}")
        expect(p + b"pro\r" + p + b"gress\r" + p + b"done\r\n" in out, f"carriage returns: {out!r}")
        expect(p + b"x\xffy\n" in out and p + b"last" in out, f"odd bytes, last line: {out!r}")
        expect(attempt(t).joinpath(str(rank), "stdout.log").read_bytes() == body % rank, "stdout.log")
        expect(attempt(t).joinpath(str(rank), "stderr.log").read_bytes() == b"err %d\n" % rank,
               "stderr.log")
        expect(f"[default{rank}]:err {rank}\n" in proc.err, f"standard error: {proc.err}")
    expect(out.count(b"\n") == 7, f"one newline between the two last lines, none more: {out!r}")


def test_layout_and_lines_are_torchruns(t: Case) -> None:
    python = torch_python()
    speak = 'echo "out $RANK"; echo "err $RANK" >&2; echo "apple, or"; echo plum'
    cases = (["--tee", "3"], ["-r", "3"], ["-r", "0:1,1:2", "-t", "2:3"], ["-t", "1", "-r", "0:2"],
             ["-r", "1", "--local-ranks-filter", "0,2"], ["-t", "3", "--local-ranks-filter", "1"],
             ["-t", "1", "--duplicate-stdout-filters", "apple,,,zzz", "--duplicate-stderr-filters", "q"],
             ["-t", "3", "--log-dir", "/dev/null", "-r", "3"], ["--role", "trn", "-t", "3"],
             ["-t", "1:1,7:3"])
    worker = script(t, "speak.sh", speak)
    procs = []
    for k, options in enumerate(cases):
        logs = [] if "--log-dir" in options else ["--log-dir", str(t.dir / f"torch{k}")]
        procs.append(t.spawn(f"torchrun{k}", [python, "-m", "torch.distributed.run",
                                              "--nproc-per-node", "3", *logs, *options, "--no-python",
                                              worker], QUIET))
        if k % 2 == 1:
            procs[-1].wait(100 * PATIENCE)
    for k, options in enumerate(cases):
        procs[k].expect(0, 100 * PATIENCE)
        logs = [] if "--log-dir" in options else ["--log-dir", str(t.dir / f"muster{k}")]
        ours = run(t, 3, [*logs, *options], [worker])
        lines = [sorted(re.findall(r"^(?:\S+]:)?(?:out|err|apple|plum).*", text, re.M))
                 for text in (procs[k].out, ours.out, procs[k].err, ours.err)]
        expect(lines[0] == lines[1], f"{options}, standard output: {lines[0]} but {lines[1]}")
        expect(lines[2] == lines[3], f"{options}, standard error: {lines[2]} but {lines[3]}")
        if logs:
            trees = [{name: sorted(data.splitlines()) for name, data in tree(t.dir / d).items()}
                     for d in (f"torch{k}", f"muster{k}")]
            expect(trees[0] == trees[1], f"{options}, files: {trees[0]} but {trees[1]}")


def test_maps_name_any_rank(t: Case) -> None:
    run(t, 12, ["-r", "0:1,1:2,10:3", "-t", "2:3,11:1"], ["sh", "-c", "echo o; echo e >&2"])
    expect(sorted(tree(t.dir / "logs")) == [f"attempt_0/{name}.log" for name in (
        "0/stdout", "1/stderr", "10/stderr", "10/stdout", "11/stdout", "2/stderr", "2/stdout")],
        f"files: {sorted(tree(t.dir / 'logs'))}")


def test_bad_maps_are_refused(t: Case) -> None:
    for options in (["-r", "4"], ["--tee", "0:4"], ["-r", "0:1,"], ["-t", ""], ["--redirects=1024:1"],
                    ["--local-ranks-filter", "a"]):
        proc = run(t, 1, options, ["true"], status=2)
        name = {"-r": "--redirects", "-t": "--tee"}.get(options[0], options[0].partition("=")[0])
        expect(name in proc.err and proc.err.count("\n") == 1, f"{options}: {proc.err}")
    proc = run(t, 2, ["-r", "5:1"], ["true"])
    expect("local rank 5" in proc.err, f"a rank that is not there is not mentioned: {proc.err}")


def test_no_log_directory(t: Case) -> None:
    t.env["OMP_NUM_THREADS"] = "1"  # muster has nothing to say of it then
    proc = run(t, 2, ["--log-dir", "/dev/null", "-r", "3", "-t", "3"], ["sh", "-c", "echo o; echo e >&2"])
    expect(proc.out == "o\no\n", f"standard output: {proc.out!r}")
    expect(proc.err == "e\ne\n", f"standard error: {proc.err!r}")
    expect(not list(t.dir.glob("muster_*")), "a directory was made")


def test_restarts_have_logs_of_their_own(t: Case) -> None:
    text = ('echo "turn $TORCHELASTIC_RESTART_COUNT"; echo hit; test $TORCHELASTIC_RESTART_COUNT = 1 || '
            'if [ $RANK = 0 ]; then exit 1; else sleep 60; fi')
    run(t, 2, ["--tee", "1", "--max-restarts", "1", "--duplicate-stdout-filters", "hit"],
        ["sh", "-c", text])
    for n in (0, 1):
        data = attempt(t, n).joinpath("0", "stdout.log").read_text()
        expect(data == f"turn {n}\nhit\n", f"attempt {n}: {data!r}")
        hits = attempt(t, n).joinpath("filtered_stdout.log").read_text()
        expect("]:hit\n" in hits and "turn" not in hits, f"filtered, attempt {n}: {hits!r}")


# ---- filters ----

def test_local_ranks_filter_keeps_the_last_words(t: Case) -> None:
    text = 'echo "out $RANK"; echo "last words of $RANK" >&2; test $RANK != 1 || exit 5'
    proc = run(t, 3, ["--local-ranks-filter", "0"], ["sh", "-c", text], status=5)
    expect(proc.out in ("out 0\n", ""), f"standard output: {proc.out!r}")
    report = proc.err[proc.err.index("muster:"):]
    expect("last words of 1" in report, f"the report lacks the tail: {proc.err}")
    expect("last words of 2" not in proc.err, f"an unheard rank is heard: {proc.err}")


def test_redirected_stderr_is_in_the_report(t: Case) -> None:
    text = 'echo "last words of $RANK" >&2; test $RANK != 1 || exit 5; sleep 30'
    for options in (["-r", "2"], ["-t", "2"], ["-t", "3", "--local-ranks-filter", "0"]):
        proc = run(t, 2, options, ["sh", "-c", text], status=5)
        report = proc.err[proc.err.index("muster:"):]
        expect("last words of 1" in report, f"{options}: the report lacks the tail: {proc.err}")


def test_the_report_names_the_log(t: Case) -> None:
    """With --tee too, where the last words are not in the file yet when the worker has ended."""
    talk = script(t, "talk", '[ "$RANK" = 0 ] || { echo "last words" >&2; exit 3; }; exec sleep 60')
    for option in ("--tee", "--redirects"):
        proc = run(t, 2, (option, "3"), (talk,), status=3)
        log = attempt(t) / "1/stderr.log"
        expect(f"  log       {log}\n" in proc.err, f"{option}: no {log} in {proc.err}")
        expect(log.read_text() == "last words\n", f"{option}: {log.read_text()!r}")
    expect("  log  " not in run(t, 2, (), (talk,), status=3).err, "a log that is not there")


def test_filters_collect_matching_lines(t: Case) -> None:
    text = 'echo "an apple"; echo "a,b $RANK"; echo plum; echo "apple pie" >&2; printf "last apple"'
    run(t, 2, ["--tee", "3", "--duplicate-stdout-filters", "apple,a,,b", "--line-prefix", "<$rank> "],
        ["sh", "-c", text])
    lines = attempt(t).joinpath("filtered_stdout.log").read_text().splitlines()
    expect(sorted(lines) == sorted(f"<{r}> {text}" for r in (0, 1)
                                   for text in ("an apple", f"a,b {r}", "last apple")), f"{lines}")
    expect(not attempt(t).joinpath("filtered_stderr.log").exists(), "a file without a filter")


def test_prefix_template_of_the_environment(t: Case) -> None:
    proc = run(t, 1, ["--tee", "1"], ["echo", "hello"],
               env={"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "${role_name}/${rank}/$local_rank: "})
    expect(proc.out == "default/0/0: hello\n", f"{proc.out!r}")
    proc = run(t, 1, ["--tee", "1", "--line-prefix", ""], ["echo", "hello"])
    expect(proc.out == "hello\n", f"{proc.out!r}")


# ---- lines ----

def test_a_prompt_is_shown_and_continued(t: Case) -> None:
    text = (f'if [ $RANK = 0 ]; then printf "Password? "; until [ -e {t.dir}/go ]; do sleep 0.01; done; '
            f'echo yes; else until [ -e {t.dir}/other ]; do sleep 0.01; done; echo hello; fi')
    for interrupts in (False, True):
        for name in ("go", "other"):
            t.dir.joinpath(name).unlink(missing_ok=True)
        job = Piped(t, 2, ["--tee", "1"], [script(t, "prompt.sh", text)])
        job.read(20 * PATIENCE, b"[default0]:Password? ")
        if interrupts:
            t.dir.joinpath("other").touch()
            job.read(20 * PATIENCE, b"hello\n")
        t.dir.joinpath("go").touch()
        job.read(20 * PATIENCE, b"yes\n")
        t.dir.joinpath("other").touch()
        data = job.finish()
        expect(data == (b"[default0]:Password? \n[default1]:hello\n[default0]:yes\n" if interrupts else
                        b"[default0]:Password? yes\n[default1]:hello\n"), f"{data!r}")


def test_progress_bars_redraw_on_a_terminal(t: Case) -> None:
    text = ('for i in 10 20 30; do printf "\\r$i%%"; sleep 0.25; done; printf "\\n"; '
            'for i in 1 2; do printf "$i/2\\r"; sleep 0.05; done; echo')
    master, slave = os.openpty()
    proc = subprocess.Popen([MUSTER, "run", "--log-dir", str(t.dir / "logs"), "-t", "1", "--no-python",
                             script(t, "bar.sh", text)], env=t.env, stdin=subprocess.DEVNULL, cwd=t.dir,
                            stdout=slave, stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(slave)
    data = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # EIO: the last writer is gone
            break
        if not chunk:
            break
        data += chunk
    os.close(master)
    expect(proc.wait(30) == 0, "status")
    p = b"[default0]:"
    want = b"\r".join(p + b for b in (b"10%", b"20%", b"30%\r\n"))
    want += p + b"1/2\r" + p + b"2/2\r" + b"\r\n"
    expect(data == want, f"{data!r} is not {want!r}")


def test_lines_of_both_streams_do_not_mix_in_one_pipe(t: Case) -> None:
    t.env["OMP_NUM_THREADS"] = "1"  # muster has nothing to say of it then
    text = f"{TALKER} 1 3000000 100 7 & {TALKER} 2 3000000 77 9 & wait"
    job = Piped(t, 4, ["--tee", "3"], [script(t, "both.sh", text)], stderr=subprocess.STDOUT)
    lines = job.finish(timeout=60).splitlines()
    bad = [line for line in lines if not re.fullmatch(rb"\[default(\d)\]:\1 \d+ x+", line)]
    expect(not bad, f"{len(bad)} broken lines, the first: {bad[:3]!r}")
    expect(len(lines) == 4 * (30000 + -(-3000000 // 77)), f"{len(lines)} lines")


def test_a_hundred_megabytes_arrive_in_order(t: Case) -> None:
    size, line = 12_500_000, 125
    job = Piped(t, 8, ["--tee", "3", "--line-prefix", "$rank|"], [TALKER, "1", str(size), str(line), "1"])
    per_rank: dict[bytes, list[bytes]] = {b"%d" % rank: [] for rank in range(8)}
    for text in bytes(job.finish(timeout=90)).splitlines(keepends=True):
        rank, _, rest = text.partition(b"|")
        per_rank[rank].append(rest)
    for rank in range(8):
        name = b"%d" % rank
        expect(len(per_rank[name]) == size // line, f"rank {rank}: {len(per_rank[name])} lines")
        for number, text in enumerate(per_rank[name]):
            if not (text.startswith(b"%d %d x" % (rank, number)) and len(text) == line):
                raise Failure(f"rank {rank}, line {number}: {text[:60]!r}")
        log = attempt(t).joinpath(str(rank), "stdout.log").read_bytes()
        expect(log == b"".join(per_rank[name]), f"rank {rank}: the log differs from the console")


def test_long_lines_arrive(t: Case) -> None:
    size, line = 3_000_000, 300_000
    job = Piped(t, 1, ["--tee", "1"], [TALKER, "1", str(size), str(line), "3"])
    data = job.finish()
    log = attempt(t).joinpath("0", "stdout.log").read_bytes()
    expect(len(log) == size, f"{len(log)} bytes in the log")
    expect(data.replace(b"[default0]:", b"") == log, "the console differs")
    expect(data.count(b"[default0]:") == 10, f"{data.count(b'[default0]:')} prefixes")


# ---- sinks that fail or wait ----

def test_a_reader_that_leaves_harms_nobody(t: Case) -> None:
    job = Piped(t, 2, ["--tee", "1"], [TALKER, "1", "2000000"])
    job.read(20 * PATIENCE, b"x\n")
    os.close(job.fd)
    status = job.popen.wait(60 * PATIENCE)
    expect(status == 0, f"status {status}: {job.err}")
    expect(job.err.count("Broken pipe; the job goes on") == 1, f"said: {job.err}")
    for rank in (0, 1):
        expect(attempt(t).joinpath(str(rank), "stdout.log").stat().st_size == 2000000, f"log of {rank}")


def test_a_full_console_harms_nobody(t: Case) -> None:
    err = t.dir / "full.err"
    with open("/dev/full", "wb") as full, open(err, "wb") as err_file:
        status = subprocess.run([MUSTER, "run", "--log-dir", str(t.dir / "logs"), "-t", "1", "--no-python",
                                 TALKER, "1", "1000000"], env=t.env, cwd=t.dir, stdout=full,
                                stderr=err_file, stdin=subprocess.DEVNULL, timeout=60, check=False)
    text = err.read_text()
    expect(status.returncode == 0, f"status {status.returncode}: {text}")
    expect(text.count("No space left on device; the job goes on") == 1, f"said: {text}")
    expect(attempt(t).joinpath("0", "stdout.log").stat().st_size == 1000000, "log")


def test_a_full_disk_harms_nobody(t: Case) -> None:
    # A limit on the size of files stands in for the disk: the agent's writes fail, the pipe's do not.
    read_end, write_end = os.pipe()
    err = t.dir / "limited.err"
    argv = ["prlimit", "--fsize=100000:100000", MUSTER, "run", "--nproc-per-node", "2", "--log-dir",
            str(t.dir / "limited"), "-t", "1", "--no-python", TALKER, "1", "2000000"]
    with open(err, "wb") as err_file:
        proc = subprocess.Popen(argv, env=t.env, cwd=t.dir, stdout=write_end, stderr=err_file,
                                stdin=subprocess.DEVNULL, start_new_session=True)
    os.close(write_end)
    with open(read_end, "rb") as reader:
        data = reader.read()
    text = err.read_text()
    expect(proc.wait(60) == 0, f"status {proc.returncode}: {text}")
    expect(text.count("stdout.log: File too large; the job goes on") == 2, f"once a file: {text}")
    expect(data.count(b"\n") == 40000, f"{data.count(10)} lines on the console")
    for name, content in tree(t.dir / "limited").items():
        expect(len(content) == 100000, f"{name} has {len(content)} bytes")


def test_a_slow_reader_stalls_its_stream_only(t: Case) -> None:
    text = ('if [ $LOCAL_RANK = 0 ]; then exec ' + TALKER + ' 1 20000000; fi; '
            'echo "aside $LOCAL_RANK" >&2; exec ' + TALKER + ' 2 5000000')
    job = Piped(t, 3, ["--tee", "0:3,1:2,2:2", "--rdzv-endpoint", f"127.0.0.1:{t.port}",
                       "--node-timeout", "1"], [script(t, "slow.sh", text)])
    # Nobody reads standard output: rank 0 waits, the others talk to standard error to their end.
    def others_are_done() -> bool:
        logs = [attempt(t) / f"{rank}/stderr.log" for rank in (1, 2)] if (t.dir / "logs").exists() else []
        return bool(logs) and all(p.exists() and p.stat().st_size > 5000000 for p in logs)
    wait_for(others_are_done, "the other ranks' output", 30 * PATIENCE)
    expect(t.status().exit_code == 0, "the coordinator in this agent does not answer")
    log = attempt(t) / "0/stdout.log"
    before = log.stat().st_size
    expect(before < 3000000, f"rank 0 wrote {before} bytes that nobody read")
    expect(job.popen.poll() is None, "the job ended")
    data = job.finish(timeout=60)
    expect(data.count(b"\n") == 200000, f"{data.count(10)} lines")


def test_what_was_written_before_the_end_is_read_at_any_pace(t: Case) -> None:
    job = Piped(t, 4, ["--tee", "1"], [TALKER, "1", "100000"], size=4096)
    time.sleep(1)  # the workers have ended, all of it waits in the agent
    while len(job.data) < 300000:
        before = len(job.data)
        job.data += os.read(job.fd, 4096)
        expect(len(job.data) > before, f"the end after {before} bytes")
        time.sleep(0.03)  # 3 s in all: longer than a fixed time limit at the end would be
    data = job.finish()
    expect(data.count(b"\n") == 4000, f"{data.count(10)} lines")


def test_children_that_keep_the_pipe_do_not_hold_the_end(t: Case) -> None:
    text = "echo before; (trap '' TERM; exec sleep 300) & printf after; exit 3"
    started = time.monotonic()
    proc = run(t, 1, ["--tee", "3", "--grace", "1"], [script(t, "child.sh", text)], status=3)
    expect(proc.out == "[default0]:before\n[default0]:after", f"{proc.out!r}")
    expect(time.monotonic() - started < 20 * PATIENCE, "the job's end was held")


def test_signals_reach_workers_whose_output_is_stuck(t: Case) -> None:
    job = Piped(t, 2, ["--tee", "1", "--grace", "2"], [TALKER, "1", "2000000000"])
    wait_for(lambda: (t.dir / "logs").exists() and list((t.dir / "logs").rglob("stdout.log")), "the logs",
             20 * PATIENCE)
    time.sleep(0.5)
    started = time.monotonic()
    job.popen.send_signal(signal.SIGTERM)
    job.popen.wait(30 * PATIENCE)
    expect(time.monotonic() - started < 15 * PATIENCE, "a reader that reads nothing held the end")
    os.close(job.fd)


def test_a_thousand_workers_are_teed(t: Case) -> None:
    count = 1000
    proc = run(t, count, ["--tee", "3", "--line-prefix", "$rank|"], ["/bin/sh", "-c", "echo $RANK; echo e >&2"])
    expect(sorted(proc.out.split()) == sorted(f"{rank}|{rank}" for rank in range(count)), "standard output")
    files = tree(t.dir / "logs")
    expect(len(files) == 2 * count, f"{len(files)} files")
    expect(all(files[f"attempt_0/{rank}/stdout.log"] == b"%d\n" % rank for rank in range(count)), "logs")


if __name__ == "__main__":
    sys.exit("run by tests/e2e/run.py")
