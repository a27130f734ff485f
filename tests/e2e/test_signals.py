# SPDX-License-Identifier: Apache-2.0
"""Signals to an agent, from programs, terminals, schedulers and containers; who gets what."""
from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

from muster import MUSTER, PATIENCE, WORKER, Case, Worker, expect, need_tools
from procs import Failure, Proc, Skip, alive, wait_for
from terminal import Terminal

PYTHON = ["--python", sys.executable]


def pids_of(workers: dict[int, Worker]) -> list[int]:
    return [worker.pid for worker in workers.values()]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def workers_of(t: Case, count: int) -> dict[int, Worker]:
    """Those of a terminal, whose muster is no process of the case."""
    wait_for(lambda: len(t.worker_files(0)) == count, f"{count} workers")
    return t.workers(count)


def script(t: Case, text: str) -> str:
    path = t.dir / "script.py"
    path.write_text(text)
    return str(path)


# ---- the list ----

def test_listed_signal_ends_the_whole_job(t: Case) -> None:
    agents = t.agents(3, 2, ["--signals-to-handle", "usr1, SIGTERM"])
    workers = t.workers(6)
    for rank, worker in workers.items():
        expect(worker.env["TORCHELASTIC_SIGNALS_TO_HANDLE"] == "usr1, SIGTERM",
               f"rank {rank} was told {worker.env['TORCHELASTIC_SIGNALS_TO_HANDLE']}")
    agents[1].signal(signal.SIGUSR1)
    wait_for(lambda: all(t.signals_of(w) for w in workers.values()), "SIGUSR1 at every worker")
    t.go()
    for agent in agents:
        agent.expect(128 + signal.SIGUSR1, 15 * PATIENCE)
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGUSR1], f"rank {rank} got {t.signals_of(worker)}")


def test_unknown_names_only_warn(t: Case) -> None:
    agent, = t.agents(1, 1, ["--signals-to-handle", "SIGTREM,SIGKILL,SIGALRM"])
    t.workers(1)
    expect("no signal 'SIGTREM'; did you mean SIGTERM?" in agent.err, agent.err)
    expect("SIGKILL cannot end the job" in agent.err, agent.err)
    agent.signal(signal.SIGALRM)
    agent.expect(128 + signal.SIGALRM)


def test_unlisted_signal_costs_the_node(t: Case) -> None:
    """Default action: the agent dies of it, nothing of its node survives, the others stop."""
    agents = t.agents(2, 2, ["--signals-to-handle", "SIGINT", "--grace", "1s"],
                      [WORKER, "--grandchild"])
    workers = t.workers(4)
    grandchildren = [t.grandchild_of(worker) for worker in workers.values()]
    agents[1].signal(signal.SIGTERM)
    agents[1].expect(143)
    agents[0].expect(1, 15 * PATIENCE)
    t.wait_gone(pids_of(workers) + grandchildren, "every process of the job")


def test_hangup_and_quit_end_the_job(t: Case) -> None:
    agents = t.agents(2, 1)
    t.workers(2)
    agents[1].signal(signal.SIGHUP)
    for agent in agents:
        agent.expect(129, 15 * PATIENCE)


def test_nohup_is_heeded(t: Case) -> None:
    need_tools("nohup")
    agent, = t.agents(1, 1, wrapper=["nohup"])
    worker = t.workers(1)[0]
    agent.signal(signal.SIGHUP)
    agent.signal(signal.SIGUSR1)
    wait_for(lambda: t.signals_of(worker) == [signal.SIGUSR1], "SIGUSR1, which came after SIGHUP")
    t.go()
    agent.expect(0)


def test_workers_start_with_clean_signals(t: Case) -> None:
    """Whatever the agent ignores, SIGPIPE for one, workers have the defaults, and none blocked."""
    agent, = t.agents(1, 1, program=["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"],
                      wrapper=["env", "--ignore-signal=PIPE,HUP,USR1", "--block-signal=USR2"])
    agent.expect(0)
    sets = [int(word, 16) for word in re.findall(r"[0-9a-f]{16}", agent.out)]
    # 32 and 33 are the C library's own: it lets nobody change them.
    expect([bits & ~(3 << 31) for bits in sets] == [0, 0], agent.out)


# ---- again and again ----

SAVES = """
import os, signal, sys, time
def save(signo, frame):
    time.sleep(0.5)
    open(os.environ["E2E_DIR"] + "/saved." + os.environ["RANK"], "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
open(os.environ["E2E_DIR"] + "/up." + os.environ["RANK"], "w").close()
while True:
    time.sleep(60)
"""


def test_time_limit_of_slurm_leaves_the_grace(t: Case) -> None:
    """SIGTERM, SIGCONT, SIGTERM within milliseconds is one wish: there is time to save."""
    agents = t.agents(2, 1, PYTHON, [script(t, SAVES)], plain=False)
    for rank in (0, 1):
        wait_for((t.job_dir / f"up.{rank}").exists, f"rank {rank} to run")
    for agent in agents:
        agent.signal(signal.SIGTERM)
        wait_for(lambda a=agent: "SIGTERM" in a.err, "the first SIGTERM to be taken")
        agent.signal(signal.SIGCONT)
        agent.signal(signal.SIGTERM)
    for agent in agents:
        agent.expect(143, 15 * PATIENCE)
    for rank in (0, 1):
        expect((t.job_dir / f"saved.{rank}").exists(), f"rank {rank} was killed before it had saved")


def test_signal_during_a_restart(t: Case) -> None:
    """The workers of the first round are still stopping: no second round begins."""
    agents = t.agents(2, 2, ["--max-restarts", "3", "--grace", "60s"], [WORKER, "--ignore-term"])
    workers = t.workers(4)
    t.tell("exit.0.3", "5")
    wait_for(lambda: signal.SIGTERM in t.signals_of(workers[0]), "SIGTERM at rank 0")
    agents[0].signal(signal.SIGINT)
    wait_for(lambda: signal.SIGINT in t.signals_of(workers[0]), "SIGINT at rank 0")
    agents[0].signal(signal.SIGINT)
    for agent in agents:
        expect(agent.wait(15 * PATIENCE) in (5, 130), f"{agent.name}: {agent.popen.returncode}")
    t.wait_gone(pids_of(workers), "all workers")
    expect(not t.worker_files(1), "a second round was started")


def test_host_leaves_while_forming(t: Case) -> None:
    """With it goes the coordinator: the others are told at once, not after the join timeout."""
    first = t.agent("node1", ["--nnodes", "3"])
    t.wait_listening(first)
    second = t.agent("node2", ["--nnodes", "3"])
    wait_for(lambda: len(t.status().nodes()) == 2, "two nodes to have joined")
    first.signal(signal.SIGTERM)
    for agent in (first, second):
        agent.expect(143, 10 * PATIENCE)
    expect("stopped by SIGTERM on node1" in second.err, second.err)
    expect(not t.worker_files(0), "workers were started")


def test_three_signals(t: Case) -> None:
    agents = t.agents(2, 2, ["--grace", "60s"], [WORKER, "--ignore-term", "--grandchild"])
    workers = t.workers(4)
    grandchildren = [t.grandchild_of(worker) for worker in workers.values()]
    agents[0].signal(signal.SIGINT)
    wait_for(lambda: all(t.signals_of(w) for w in workers.values()), "SIGINT at every worker")
    for _ in range(2):
        agents[0].signal(signal.SIGINT)
    for agent in agents:
        agent.expect(130, 15 * PATIENCE)
    t.wait_gone(pids_of(workers) + grandchildren, "every process of the job")


def test_no_grace(t: Case) -> None:
    agents = t.agents(2, 2, ["--shutdown-timeout", "0"], [WORKER, "--ignore-term"])
    workers = t.workers(4)
    agents[1].signal(signal.SIGTERM)
    for agent in agents:
        agent.expect(143, 10 * PATIENCE)
    t.wait_gone(pids_of(workers), "all workers")
    expect(not any(t.signals_of(w) for w in workers.values()), "a worker got a signal it could handle")


# ---- the first process of a container ----

def container(t: Case, *command: str) -> tuple[Proc, int]:
    """A pid namespace whose first process is `command`; its pid as seen from outside."""
    need_tools("unshare")
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    probe = t.spawn("probe", [*unshare, "true"])
    if probe.wait() != 0:
        raise Skip(f"no pid namespace can be made here: {probe.err.strip()}")
    proc = t.spawn("container", [*unshare, *command])
    children = Path(f"/proc/{proc.pid}/task/{proc.pid}/children")
    wait_for(lambda: children.read_text().split(), "the container's first process")
    return proc, int(children.read_text().split()[0])


def namespace_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def test_first_process_of_a_container(t: Case) -> None:
    proc, init = container(t, MUSTER, "run", "--nproc-per-node", "2", "--grace", "1s", "--no-python",
                           WORKER, "--grandchild")
    workers = t.workers(2)
    for worker in workers.values():
        t.grandchild_of(worker)  # which ignores SIGTERM from then on
    inside = [pid for pid in (int(p) for p in os.listdir("/proc") if p.isdigit())
              if pid != init and namespace_of(pid) == namespace_of(init)]
    expect(len(inside) == 5, f"{len(inside)} processes inside: shepherd, 2 workers, 2 grandchildren")
    os.kill(init, signal.SIGTERM)
    proc.expect(143, 15 * PATIENCE)
    expect("left 2 processes behind" not in proc.err, proc.err)
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGTERM], f"rank {rank} got {t.signals_of(worker)}")
    t.wait_gone(inside, "every process of the container")


def test_first_process_reaps_while_it_waits(t: Case) -> None:
    """No round runs, and others have orphans too: a zombie is reaped all the same."""
    proc, init = container(t, "sh", "-c", 'true & sleep 0.3 & exec "$@"', "sh", MUSTER, "run",
                           "--nnodes", "2", "--rdzv-endpoint", f"127.0.0.1:{t.port}", "--no-python",
                           WORKER)
    proc.wait_err("1/2", 15 * PATIENCE)
    need_tools("nsenter")
    enter = ["nsenter", "-t", str(init), "-p", "-m"]
    t.spawn("exec", [*enter, "sh", "-c", "sleep 0.1 & exit 0"]).expect(0)
    wait_for(lambda: not Path(f"/proc/{init}/task/{init}/children").read_text().split(),
             "the orphans to be reaped")
    os.kill(init, signal.SIGTERM)
    proc.expect(143, 15 * PATIENCE)


# ---- a job that is over ----

def catches(pid: int, signo: int) -> bool:
    found = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1], 16) >> (signo - 1) & 1)


def test_end_of_the_job_is_not_undone_by_a_signal(t: Case) -> None:
    """`srun --kill-on-bad-exit` ends the step as soon as one agent has exited, the others are about to."""
    fifo = t.dir / "stderr"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    agent = t.agent("node1", ["--nproc-per-node", "1"], wrapper=["sh", "-c", 'exec "$@" 2>stderr', "sh"])
    t.workers(1)
    while True:  # nobody reads the report, so the agent waits some seconds after the end
        try:
            os.write(reader, b"x" * 4096)
        except BlockingIOError:
            break
    t.tell("exit.0.0", "7")
    wait_for(lambda: not catches(agent.pid, signal.SIGTERM), "the agent to be done with the job")
    expect(agent.is_running(), "the agent did not wait for its reader")
    for signo in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        agent.signal(signo)
    agent.expect(7, 30 * PATIENCE)
    os.close(reader)


# ---- terminals ----

def test_ctrl_c_on_a_pipeline(t: Case) -> None:
    """It ends well although tee, which got the Ctrl-C too, no longer reads."""
    terminal = Terminal(t)
    terminal.run([MUSTER, "run", "--nproc-per-node", "2", "--no-python", WORKER,
                  "--stderr", "up", "2>&1 | tee log"])
    workers = workers_of(t, 2)
    terminal.type("\x03")
    terminal.expect("ready>")
    terminal.type("echo status=${PIPESTATUS[0]}\n")  # of muster, not tee
    expect(terminal.status() == 130, "muster did not end with 130")
    for rank, worker in workers.items():
        expect(t.signals_of(worker) == [signal.SIGINT], f"rank {rank} got {t.signals_of(worker)}")


def test_ctrl_z_stops_the_whole_node(t: Case) -> None:
    terminal = Terminal(t)
    terminal.run([MUSTER, "run", "--nproc-per-node", "2", "--node-timeout", "1s", "--grace", "1s",
                  "--no-python", WORKER, "--grandchild"])
    workers = workers_of(t, 2)
    grandchildren = [t.grandchild_of(worker) for worker in workers.values()]
    everybody = pids_of(workers) + grandchildren
    terminal.type("\x1a")
    expect(terminal.status() == 128 + signal.SIGTSTP, "the shell did not see it stop")
    wait_for(lambda: all(state_of(pid) == "T" for pid in everybody), "every process to be stopped")
    # Longer than the node timeout: nobody is lost.
    terminal.run(["sleep 2; fg"])
    wait_for(lambda: all(state_of(pid) != "T" for pid in everybody), "every process to go on")
    terminal.type("\x1a")  # and once more
    expect(terminal.status() == 128 + signal.SIGTSTP, "the shell did not see it stop again")
    wait_for(lambda: all(state_of(pid) == "T" for pid in everybody), "every process to be stopped")
    terminal.type("bg\n")
    wait_for(lambda: all(state_of(pid) != "T" for pid in everybody), "every process to go on")
    terminal.run(["fg"])
    t.go()
    expect(terminal.status() == 0, "the job did not end with 0")
    t.wait_gone(everybody, "every process of the job")


def test_ctrl_z_does_not_stop_one_node_of_several(t: Case) -> None:
    terminal = Terminal(t)
    terminal.run([MUSTER, "run", "--nnodes", "2", "--rdzv-endpoint", f"127.0.0.1:{t.port}",
                  "--rdzv-id", t.run_id, "--node-name", "node1", "--no-python", WORKER])
    t.agent("node2", ["--nnodes", "2"])
    t.workers(2)
    terminal.type("\x1a")
    terminal.expect(r"not stopping, because .* give this node up after 5\.0 s")
    t.go()
    expect(terminal.status() == 0, "the job did not end with 0")


def test_stopped_without_a_shell(t: Case) -> None:
    """Nobody could continue an orphaned process group, so the kernel does not stop it."""
    agent, = t.agents(1, 1)
    worker = t.workers(1)[0]
    agent.signal(signal.SIGTSTP)
    agent.signal(signal.SIGUSR1)
    wait_for(lambda: t.signals_of(worker) == [signal.SIGUSR1], "SIGUSR1, which came after SIGTSTP")
    wait_for(lambda: state_of(worker.pid) != "T", "the worker to go on")
    t.go()
    agent.expect(0)


ASKS = """
import errno, os
try:
    open("/dev/tty").close()
    print("/dev/tty can be opened", flush=True)
except OSError as e:
    print("/dev/tty:", errno.errorcode[e.errno], flush=True)
if os.environ["LOCAL_RANK"] == "0":
    print("you said", input("name? ").upper(), flush=True)
"""


def test_a_worker_can_ask(t: Case) -> None:
    terminal = Terminal(t)
    terminal.run([MUSTER, "run", *PYTHON, script(t, ASKS)])
    terminal.expect("/dev/tty: ENXIO")  # a session of its own: Ctrl-C comes through muster alone
    terminal.expect(r"name\? ")
    terminal.type("muster\n")
    terminal.expect("you said MUSTER")
    expect(terminal.status() == 0, "the job did not end with 0")


def test_a_worker_can_be_debugged(t: Case) -> None:
    terminal = Terminal(t)
    terminal.run([MUSTER, "run", *PYTHON, script(t, "secret = 6 * 7\nbreakpoint()\nprint('on we go')\n")])
    terminal.expect(r"\(Pdb\) ")
    terminal.type("p secret\n")
    terminal.expect("42")
    terminal.type("c\n")
    terminal.expect("on we go")
    expect(terminal.status() == 0, "the job did not end with 0")


SPOILS = """
import os, signal, sys, tty, termios
tty.setraw(0)
settings = termios.tcgetattr(0)
settings[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, settings)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_terminal_is_handed_back_as_it_was(t: Case) -> None:
    terminal = Terminal(t)
    before = terminal.settings()
    # Within one command line: bash itself resets the terminal only before its prompt.
    terminal.run([MUSTER, "run", *PYTHON, script(t, SPOILS), "; stty -a > after"])
    terminal.expect("killed by SIGKILL")
    expect(terminal.status() == 0, "stty failed")
    expect(terminal.settings() == before, "the terminal's settings changed")
    after = (t.dir / "after").read_text()
    expect(re.search(r"[^-]icanon", after) and re.search(r"[^-]echo\b", after), after)
    expect("\r\n" in terminal.text.partition("killed by")[2], "the report came in raw mode")
