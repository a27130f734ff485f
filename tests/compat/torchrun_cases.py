# SPDX-License-Identifier: Apache-2.0
"""The command lines that tests/e2e/test_torchrun_cli.py gives to torchrun and to muster.

A line is what stands after the launcher's name, split as a shell would. {worker} is
torchrun_worker.py, {program} torchrun_worker.sh, {dir} the run's own directory, {port} a free port.
Of {dir} there are: work (the current directory), bin (on PATH, with trw_program), modules (on
PYTHONPATH, with trw_module and trw_package), file (a file), there/old/kept. What is under logs,
there, result and tmp (TMPDIR) afterwards is compared.

`differs` are the ids of tests/compat/torchrun_differences.py that this command shows, beside those
of its kind (see there). A difference that is not listed fails the test, as does a listed one that
does not show.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HELLO = [["out", "hello"], ["err", "oops"]]
STAY = [["ready"], ["hang"]]
MEET_2 = [["peers", 2]]
Do = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class Command:
    name: str
    line: str
    differs: str = ""
    do: Do = field(default_factory=dict)  # see torchrun_worker.py
    env: dict[str, str] = field(default_factory=dict)
    agents: tuple[str, ...] = ("",)  # further options of each launcher; all run at once
    signal: str = ""  # sent to the first launcher when `ready` workers are ready
    ready: int = 2
    stdin: str = ""
    wrapper: str = ""
    as_module: bool = False  # python -m torch.distributed.run, muster run


C = Command

# Every option, in all its spellings, from all its sources.
OPTIONS = [
    C("plain", "{worker} a b"),
    C("as a module", "--nproc-per-node 2 {worker} a b", as_module=True),
    C("dashes", "--nproc-per-node 2 --max-restarts 1 --monitor-interval 0.1 --start-method spawn "
      "--log-dir {dir}/logs --rdzv-backend c10d --rdzv-endpoint localhost:{port} --rdzv-id job "
      "--event-log-handler null --shutdown-timeout 5 --signals-to-handle SIGTERM,SIGINT {worker}"),
    C("underscores", "--nproc_per_node 2 --max_restarts 1 --monitor_interval 0.1 --start_method spawn "
      "--log_dir {dir}/logs --rdzv_backend c10d --rdzv_endpoint localhost:{port} --rdzv_id job "
      "--event_log_handler null --shutdown_timeout 5 --signals_to_handle SIGTERM,SIGINT {worker}"),
    C("equals signs", "--nproc-per-node=2 --nnodes=1 --max-restarts=2 --role=trainer --rdzv-conf=read_timeout=30 "
      "--local-addr=127.0.0.1 --standalone {worker} --x=y"),
    C("one dash too few", "-nproc-per-node=2 {worker}"),
    C("abbreviated: standalone", "--stand --rol r {worker}"),
    C("abbreviated: max", "--max 2 {worker}", differs="abbreviation"),
    C("abbreviated: nproc", "--nproc 2 {worker}", differs="abbreviation"),
    C("abbreviated with a value", "--nn=1 --rol=x {worker}"),
    C("given twice", "--nproc-per-node 1 --nproc_per_node 2 --role a --role b {worker}"),
    C("numbers as Python reads them", "--nproc-per-node ' 2' --max-restarts +1 --monitor-interval 1e-1 "
      "--nnodes '1 : 1' --shutdown-timeout ' 5' {worker}"),
    C("role of odd letters", "--role 'a/b ü%s' -t 1 --log-dir {dir}/logs {worker}", do={"*": HELLO}),
    C("node rank on one node", "--node-rank 3 {worker}"),
    C("nnodes 1:1", "--nnodes 1:1 --nproc-per-node 2 {worker}"),
    C("role", "--role trainer --nproc-per-node 2 {worker}"),
    C("max restarts not needed", "--max-restarts 3 {worker}"),
    C("nproc cpu", "--nproc-per-node cpu {worker}"),
    C("nproc auto", "--nproc-per-node auto {worker}"),
    C("standalone with an endpoint", "--standalone --rdzv-endpoint 127.0.0.1:{port} --rdzv-id mine {worker}",
      differs="named-job"),
    C("id without an endpoint", "--rdzv-id mine {worker}", differs="named-job"),
    C("start method fork", "--start-method fork {worker}"),
    C("event log handler console", "--event-log-handler console {worker}"),
    C("rdzv conf", "--rdzv-backend c10d --rdzv-endpoint 127.0.0.1:{port} "
      "--rdzv-conf join_timeout=60,last_call_timeout=1,close_timeout=5,read_timeout=20,timeout=30 {worker}"),
    C("rdzv conf with spaces", "--rdzv-backend c10d --rdzv-endpoint 127.0.0.1:{port} "
      "--rdzv-conf ' join_timeout = 60 , is_host = true ' {worker}"),
    C("double dash", "--nproc-per-node 1 -- {worker} -- --nnodes 3"),
    C("options after the script", "{worker} --nnodes 4 -m -h --nproc-per-node=3"),
    C("negative shutdown timeout", "--shutdown-timeout -1 {worker}", differs="usage-status"),
    C("signals unknown", "--signals-to-handle SIGTERM,SIGNONSENSE {worker}"),
    C("local addr", "--local-addr 127.0.0.1 {worker}"),
    C("omp set", "--nproc-per-node 2 {worker}", env={"OMP_NUM_THREADS": "3"}),
    C("omp empty", "--nproc-per-node 2 {worker}", env={"OMP_NUM_THREADS": ""}),
    C("leftovers in the environment", "--nproc-per-node 2 {worker}",
      env={"RANK": "7", "WORLD_SIZE": "9", "MASTER_ADDR": "nowhere", "MASTER_PORT": "1", "LOCAL_RANK": "3",
           "GROUP_RANK": "5", "ROLE_NAME": "x", "TORCHELASTIC_RUN_ID": "old", "NODE_RANK": "4",
           "TORCHELASTIC_USE_AGENT_STORE": "False", "TORCHELASTIC_RESTART_COUNT": "2",
           "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}),
    C("no shared store", "{worker}", env={"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}, differs="always-store"),
    C("virtual local rank", "--virtual-local-rank --nproc-per-node 2 {worker}"),
    C("virtual local rank of a list", "--virtual_local_rank --nproc_per_node 2 {worker}",
      env={"CUDA_VISIBLE_DEVICES": "4,GPU-abc,6"}),
    C("virtual local rank of too few", "--virtual-local-rank --nproc-per-node 2 {worker}",
      env={"CUDA_VISIBLE_DEVICES": "4"}, differs="usage-status"),
    C("numa binding without GPUs", "--numa-binding node {worker}", differs="unbound"),
    C("numa binding unknown", "--numa-binding moon {worker}"),
]

PET = [
    C("PET values", "{worker}", env={
        "PET_NNODES": "1:1", "PET_NPROC_PER_NODE": "2", "PET_MAX_RESTARTS": "2", "PET_ROLE": "r",
        "PET_RDZV_BACKEND": "c10d", "PET_RDZV_ENDPOINT": "127.0.0.1:{port}", "PET_RDZV_ID": "fromenv",
        "PET_RDZV_CONF": "join_timeout=60", "PET_MONITOR_INTERVAL": "0.2", "PET_START_METHOD": "spawn",
        "PET_EVENT_LOG_HANDLER": "null", "PET_LOG_DIR": "{dir}/logs", "PET_REDIRECTS": "0:1",
        "PET_TEE": "1:2", "PET_LOCAL_ADDR": "127.0.0.1", "PET_SIGNALS_TO_HANDLE": "SIGTERM",
        "PET_SHUTDOWN_TIMEOUT": "4"}, do={"*": HELLO}),
    C("PET static", "{worker}", env={"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": "{port}",
                                      "PET_NODE_RANK": "0", "PET_NNODES": "1"}),
    C("PET of a cluster, standalone", "--standalone {worker}", env={
        "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "nowhere.invalid", "PET_MASTER_PORT": "{port}"}),
    C("PET flags", "trw_program x", env={"PET_NO_PYTHON": "1", "PET_STANDALONE": "1"}),
    C("PET module", "trw_module x", env={"PET_MODULE": "1", "PET_STANDALONE": "0"}),
    C("PET virtual", "--nproc-per-node 2 {worker}", env={"PET_VIRTUAL_LOCAL_RANK": "1"}),
    C("PET filters", "--nproc-per-node 2 --tee 3 --log-dir {dir}/logs {worker}", do={"*": HELLO},
      env={"PET_LOCAL_RANKS_FILTER": "1", "PET_DUPLICATE_STDOUT_FILTERS": "hell",
           "PET_DUPLICATE_STDERR_FILTERS": "oo"}),
    C("PET under the command line", "--nproc-per-node 2 --role cli {worker}",
      env={"PET_NPROC_PER_NODE": "1", "PET_ROLE": "env"}),
    C("PET bad but overridden", "--max-restarts 1 {worker}", env={"PET_MAX_RESTARTS": "abc"}),
    C("PET bad number", "{worker}", env={"PET_MAX_RESTARTS": "abc"}),
    C("PET bad flag", "{worker}", env={"PET_STANDALONE": "yes"}, differs="usage-status"),
    C("PET empty", "{worker}", env={"PET_ROLE": ""}, differs="checked"),
    C("PET without meaning", "{worker}", env={"PET_LOGS_SPECS": "nonsense"}),
    C("PET choice not checked", "{worker}", env={"PET_START_METHOD": "nonsense"}, differs="checked"),
]

# What is run: programs and their arguments.
PROGRAMS = [
    C("short m", "-m trw_module a"),
    C("package", "--module trw_package a"),
    C("no python", "--no-python {program} a 'b c'"),
    C("no python on PATH", "--no_python --nproc-per-node 2 trw_program a"),
    C("no python, argv[0]", "--no-python sh -c 'cat /proc/$$$$/cmdline | tr \"\\0\" \"\\n\" >{dir}/result/argv' x ''"),
    C("no python, with a relative path", "--no-python ../bin/trw_program"),
    C("no python, exit status", "--no-python {program}", env={"TRW_EXIT": "3"}, differs="culprit-status"),
    C("run path", "--run-path {worker} a b", differs="run-path"),
    C("run path wins over no python", "--run-path --no-python {worker} a", differs="run-path"),
    C("relative script", "here.py a"),
    C("python exec", "{worker} a", env={"PYTHON_EXEC": "python3"}, differs="python-path"),
    C("substitution", "--nproc-per-node 2 {worker} '${local_rank}' '$local_rank' 'a$local_rank.b' '$local_rankx' '$$' "
      "'$${local_rank}' '$HOME' '${other}' '$' 'x$' '${' '$LOCAL_RANK' '$1' '${local_rank'"),
    C("substitution in the script", "{dir}/'worker$local_rank.py' a"),
    C("arguments: empty, spaces, newline, unicode", "{worker} '' ' ' 'a\nb' 'ü – 火' '\"q\"' '*'"),
    C("many arguments", "{worker} " + " ".join(f"--option-{i}={i}" for i in range(300))),
]

STREAMS = "--nproc-per-node 2 --log-dir {dir}/logs "
REDIRECTS = [
    C("no redirects", STREAMS + "{worker}", do={"*": HELLO}),
    *(C(f"redirects {n}", STREAMS + f"-r {n} {{worker}}", do={"*": HELLO}) for n in (1, 2, 3)),
    C("redirects in one word", STREAMS + "-r3 {worker}", do={"*": HELLO}),
    C("redirects by rank", STREAMS + "--redirects 0:1,1:2 {worker}", do={"*": HELLO}),
    C("redirects by rank, one", STREAMS + "--redirects=1:3 {worker}", do={"*": HELLO}),
]

TEE = [
    *(C(f"tee {n}", STREAMS + f"-t {n} {{worker}}", do={"*": HELLO}) for n in (1, 2, 3)),
    C("tee by rank", STREAMS + "--tee 0:1,1:2 {worker}", do={"*": HELLO}),
    C("tee and redirects", STREAMS + "-t 1 -r 2 {worker}", do={"*": HELLO}),
    C("tee over redirects", STREAMS + "-t 3 -r 3 {worker}", do={"*": HELLO}),
    C("tee in a temporary directory", "--nproc-per-node 2 -t 3 {worker}", do={"*": HELLO}),
    C("tee of a role", STREAMS + "-t 3 --role trainer {worker}", do={"*": HELLO}),
    C("tee with a prefix", STREAMS + "-t 3 --role r {worker}", do={"*": HELLO},
      env={"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "<${role_name}/${local_rank}/${rank}/$$/${x}> "}),
    C("tee without a newline at the end", STREAMS + "-t 3 {worker}",
      do={"0": [["raw", 1, "#w 0 no newline"]]}),
    C("tee of bytes that are no UTF-8", STREAMS + "-t 1 {worker}", do={"0": [["raw", 1, "#w 0 \xff\xfe\n"]]},
      differs="bytes"),
    C("tee of empty lines", STREAMS + "-t 1 {worker}", do={"0": [["raw", 1, "#w 0 a\n\n#w 0 b\r\n"]]},
      differs="bytes"),
    C("filter of ranks", STREAMS + "--local-ranks-filter 1 {worker}", do={"*": HELLO}),
    C("filter of ranks with tee", STREAMS + "-t 3 --local_ranks_filter=0 {worker}", do={"*": HELLO}),
    C("filter of ranks with redirects", STREAMS + "-r 1 --local-ranks-filter 0,1 {worker}", do={"*": HELLO}),
    C("filter of ranks, unusable", "--local-ranks-filter a {worker}", differs="usage-status"),
    C("duplicate filters", STREAMS + "-t 3 --duplicate-stdout-filters ell --duplicate-stderr-filters oops,x {worker}",
      do={"*": HELLO}),
    C("duplicate filters with a comma", STREAMS + "-t 3 --duplicate_stdout_filters a,,b,zz {worker}",
      do={"*": [["out", "a,b here"], ["out", "a here"], ["out", "zz here"]]}),
    C("duplicate filters without tee", STREAMS + "--duplicate-stdout-filters hello {worker}",
      do={"*": HELLO}),
]

LOG_DIRECTORY = [
    C("log directory of several levels", "--log-dir {dir}/logs/a/b -r 1 {worker}", do={"*": HELLO}),
    C("log directory that exists", "--log-dir {dir}/there -r 1 {worker}", do={"*": HELLO}),
    C("log directory, relative", "--log-dir ../logs -r 1 {worker}", do={"*": HELLO},
      differs="absolute-error-file"),
    C("log directory is a file", "--log-dir {dir}/file {worker}", differs="usage-status"),
    C("log directory of no name", "--log-dir '' -r 1 {worker}", do={"*": HELLO}),
    C("log directory /dev/null", "--log-dir /dev/null {worker}", do={"*": HELLO}),
    C("log directory /dev/null with redirects", "--log-dir /dev/null -r 3 {worker}", do={"*": HELLO}),
    C("log directory /dev/null with tee", "--log-dir /dev/null -t 3 {worker}", do={"*": HELLO}),
    C("redirects of every attempt", STREAMS + "-r 3 --max-restarts 1 {worker}",
      do={"@0": [*HELLO, *MEET_2, ["exit", 3]], "@1": HELLO}),
    C("redirects unusable", "-r 4 {worker}", differs="usage-status"),
    C("redirects of rank 10", "-r 10:1 {worker}", differs="rank-10"),
    C("tee unusable", "--tee x {worker}", differs="usage-status"),
]

TWO_STATIC = "--nnodes 2 --nproc-per-node 2 --master-addr 127.0.0.1 --master-port {port} "
TWO_C10D = "--nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:{port} --rdzv-id two "
NODES = [
    C("static, one node", "--master-addr 127.0.0.1 --master-port {port} --nproc-per-node 2 {worker}"),
    C("static, master address alone", "--master-addr localhost --nproc-per-node 2 {worker}"),
    C("static by endpoint", "--rdzv-endpoint 127.0.0.1:{port} {worker}"),
    C("static, named job", "--master-port {port} --rdzv-id named {worker}"),
    C("static, two nodes", TWO_STATIC + "{worker}", agents=("--node-rank 0", "--node-rank 1")),
    C("static, two nodes by environment", TWO_STATIC + "{worker}", agents=("", "--nproc-per-node 1"),
      wrapper="sh -c 'export PET_NODE_RANK=$TRW_AGENT; exec \"$@\"' x"),
    C("c10d, one node", "--rdzv-backend c10d --rdzv-endpoint localhost:{port} --nproc-per-node 2 {worker}"),
    C("c10d, no endpoint", "--rdzv-backend c10d --nproc-per-node 2 {worker}", differs="unnamed-job"),
    C("c10d, port 0", "--rdzv-backend=c10d --rdzv-endpoint=localhost:0 --nnodes=1 {worker}",
      differs="unnamed-job"),
    C("c10d, two nodes", TWO_C10D + "{worker}", agents=("", "")),
    C("c10d, 1:2 nodes of two", TWO_C10D + "--nnodes 1:2 {worker}", agents=("", "")),
    C("c10d, two roles", TWO_C10D + "{worker}",
      agents=("--role a --local-addr 127.0.0.2", "--role b --local-addr 127.0.0.3")),
    C("c10d, sizes that differ", TWO_C10D + "{worker}",
      agents=("--local-addr 127.0.0.2", "--local-addr 127.0.0.3 --nproc-per-node 1")),
    C("c10d, order of names", TWO_C10D + "{worker}",
      agents=("--local-addr 127.0.0.10", "--local-addr 127.0.0.2"), differs="natural-order"),
    C("c10d, node ranks", TWO_C10D + "{worker}", agents=("--node-rank 1", "--node-rank 0"),
      differs="node-rank"),
    C("c10d, two nodes, one restart", TWO_C10D + "--max-restarts 2 {worker}",
      agents=("--local-addr 127.0.0.2", "--local-addr 127.0.0.3"),
      do={"*": [["peers", 4]], "3@0": [["peers", 4], ["exit", 5]],
      "@0": [["trap", "SIGTERM", 0], ["peers", 4], ["hang"]]}, differs="restart-count"),
    C("c10d, two nodes, logs of both attempts", TWO_C10D + "--max-restarts 2 -r 3 {worker}",
      agents=("--local-addr 127.0.0.2 --log-dir {dir}/logs/a", "--local-addr 127.0.0.3 --log-dir {dir}/logs/b"),
      do={"3@0": [["peers", 4], ["exit", 5]], "@0": [["out", "first"], ["peers", 4], ["hang"]],
          "*": [["out", "second"], ["peers", 4]]}, differs="restart-count kept-attempts"),
    C("ipv6", "--master-addr [::1] --master-port {port} {worker}"),
]

TWO = "--nproc-per-node 2 "
FAILURES = [
    C("exit 1", "{worker}", do={"*": [["exit", 1]]}),
    C("exit 7", TWO + "{worker}",
      do={"1": [*MEET_2, ["exit", 7]], "0": [["trap", "SIGTERM", 0], *MEET_2, ["hang"]]},
      differs="culprit-status"),
    C("exit 255", "{worker}", do={"*": [["exit", 255]]}, differs="culprit-status"),
    *(C(f"killed by {name}", "{worker}", do={"*": [["kill", name]]},
      differs="culprit-status") for name in ("SIGSEGV", "SIGKILL", "SIGTERM")),
    C("a peer ignores SIGTERM", TWO + "{worker}", env={"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "1"},
      do={"1": [*MEET_2, ["exit", 7]], "0": [["trap", "SIGTERM", -1], *MEET_2, ["pause", 2]]},
      differs="culprit-status"),
    C("restarted once", TWO + "--max-restarts 1 {worker}", do={"1@0": [*MEET_2, ["exit", 7]],
      "0@0": [*MEET_2, ["hang"]]}),
    C("restarted in vain", TWO + "--max-restarts 2 {worker}", do={"*": [*MEET_2, ["exit", 9]]},
      differs="culprit-status same-way"),
    C("restarted in vain, each time otherwise", TWO + "--max-restarts 2 {worker}",
      do={"@0": [*MEET_2, ["exit", 9]], "@1": [*MEET_2, ["exit", 8]], "@2": [*MEET_2, ["exit", 7]]},
      differs="culprit-status"),
    C("recorded exception", "--log-dir {dir}/logs {worker}", do={"*": [["record", "bad thing"]]}),
    C("recorded, given to the parent", "--log-dir {dir}/logs {worker}", do={"*": [["record", "bad thing"]]},
      env={"TORCHELASTIC_ERROR_FILE": "{dir}/result/error.json"}),
    C("recorded, text only", "--log-dir {dir}/logs {worker}",
      do={"*": [["write", "$TORCHELASTIC_ERROR_FILE", '{"message": "text only", "timestamp": 5}'], ["exit", 4]]},
      env={"TORCHELASTIC_ERROR_FILE": "{dir}/result/error.json"}, differs="culprit-status"),
    C("error file that is none", "--log-dir {dir}/logs {worker}",
      do={"*": [["write", "$TORCHELASTIC_ERROR_FILE", "nonsense"], ["exit", 4]]}, differs="culprit-status"),
    C("no script", "--nproc-per-node 2 {dir}/absent.py", differs="culprit-status"),
    C("no module", "-m absent_module"),
    C("no program", "--no-python {dir}/absent", differs="culprit-status"),
    C("no program on PATH", "--no-python trw_absent", differs="culprit-status"),
    C("no program, a file", "--no-python {dir}/work/no_program", differs="culprit-status"),
]

SIGNALS = [
    *(C(f"{name} to the launcher", TWO + "{worker}", "signal-status", signal=name,
        do={"*": [["trap", name, 0], *MEET_2, *STAY]}) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")),
    C("SIGTERM, workers fail of it", TWO + "{worker}", signal="SIGTERM",
      do={"*": [["trap", "SIGTERM", 5], *MEET_2, *STAY]}, differs="signal-status"),
    C("SIGTERM, workers die of it", TWO + "{worker}", signal="SIGTERM", do={"*": [*MEET_2, *STAY]},
      differs="signal-status"),
    C("SIGTERM, a worker ignores it", TWO + "--shutdown-timeout 1 {worker}", signal="SIGTERM",
      do={"0": [["trap", "SIGTERM", -1], *MEET_2, *STAY], "1": [["trap", "SIGTERM", 0], *MEET_2, *STAY]},
      differs="signal-status"),
    C("SIGUSR1, not listed", TWO + "{worker}", signal="SIGUSR1",
      do={"*": [["trap", "SIGUSR1", 0], *MEET_2, *STAY]}, differs="passed-on"),
    C("SIGUSR1, listed", TWO + "--signals-to-handle SIGUSR1,SIGTERM {worker}", signal="SIGUSR1",
      do={"*": [["trap", "SIGUSR1", 0], *MEET_2, *STAY]}, differs="signal-status"),
    C("SIGINT, ignored from the start", TWO + "{worker}", signal="SIGINT",
      wrapper="sh -c 'trap \"\" INT; exec \"$@\"' x",
      do={"*": [["trap", "SIGINT", 0], *MEET_2, ["ready"], ["pause", 1]]}, differs="ignored-stays-ignored"),
    C("SIGTERM with restarts left", TWO + "--max-restarts 2 {worker}", signal="SIGTERM",
      do={"*": [*MEET_2, *STAY]}, differs="signal-status"),
    C("SIGKILL to the launcher", TWO + "{worker}", signal="SIGKILL", do={"*": [*MEET_2, *STAY]},
      differs="no-orphans"),
    C("SIGINT with tee", TWO + "-t 3 --log-dir {dir}/logs {worker}", signal="SIGINT",
      do={"*": [*HELLO, ["trap", "SIGINT", 0], *MEET_2, *STAY]}, differs="signal-status"),
]

REFUSED = [
    C("help", "--help"),
    C("help, short", "-h"),
    C("nothing at all", ""),
    C("no script after options", "--nproc-per-node 2"),
    C("unknown option", "--nonsense {worker}"),
    C("unknown short option", "-z {worker}"),
    C("a missing value", "--nproc-per-node"),
    C("an option for a value", "--role --standalone {worker}"),
    C("a value for a flag", "--standalone=1 {worker}"),
    C("nproc 0", "--nproc-per-node 0 {worker}", differs="usage-status"),
    C("nproc nonsense", "--nproc-per-node many {worker}", differs="usage-status"),
    C("nproc negative", "--nproc-per-node=-2 {worker}", differs="usage-status"),
    C("nproc gpu without one", "--nproc-per-node gpu {worker}", differs="usage-status"),
    C("nnodes 0", "--nnodes 0 {worker}", differs="usage-status"),
    C("nnodes 2:1", "--nnodes 2:1 {worker}", differs="usage-status"),
    C("nnodes of three", "--nnodes 1:2:3 {worker}", differs="usage-status"),
    C("nnodes nonsense", "--nnodes x {worker}", differs="usage-status"),
    C("max restarts -1", "--max-restarts=-1 {worker}", differs="usage-status"),
    C("max restarts 1.5", "--max-restarts 1.5 {worker}"),
    C("monitor interval 0", "--monitor-interval 0 {worker}", differs="usage-status"),
    C("start method nonsense", "--start-method nonsense {worker}"),
    C("backend nonsense", "--rdzv-backend nonsense {worker}", differs="usage-status"),
    C("rdzv conf nonsense", "--rdzv-backend c10d --rdzv-endpoint localhost:{port} --rdzv-conf nonsense {worker}",
      differs="usage-status"),
    C("rdzv conf without a value", "--rdzv-backend c10d --rdzv-endpoint localhost:{port} --rdzv-conf a= {worker}",
      differs="usage-status"),
    C("endpoint nonsense", "--rdzv-backend c10d --rdzv-endpoint localhost:x {worker}",
      differs="usage-status"),
    C("port too large", "--rdzv-backend c10d --rdzv-endpoint localhost:70000 {worker}",
      differs="usage-status"),
    C("module and no python", "-m --no-python trw_module", differs="usage-status"),
    C("logs specs nonsense", "--logs-specs nonsense {worker}", differs="plugin"),
    C("event log handler nonsense", "--event-log-handler nonsense {worker}", differs="plugin"),
    C("port in use", "--rdzv-conf join_timeout=2 --master-addr 127.0.0.1 --master-port {port} {worker}",
      wrapper="python3 -c \"import os,socket,sys; s=socket.socket(); s.bind(('127.0.0.1',{port})); s.listen(); "
              "s.set_inheritable(True); os.execvp(sys.argv[1], sys.argv[1:])\""),
    C("empty id", "--rdzv-id '' --rdzv-backend c10d --rdzv-endpoint localhost:{port} {worker}",
      differs="checked"),
]

# What a worker inherits.
PROCESS = [
    C("stdin", "{worker}", stdin="a line\n", do={"*": [["stdin"]]}),
    C("stdin closed", "{worker}", wrapper="sh -c 'exec \"$@\" <&-' x", differs="closed-descriptors"),
    C("stdin /dev/null", "{worker}", wrapper="sh -c 'exec \"$@\" </dev/null' x"),
    C("stdout closed", "{worker}", wrapper="sh -c 'exec \"$@\" >&-' x", differs="closed-descriptors"),
    C("script from stdin", "- a b", stdin="import os\nos.write(1, b'#w 0 from stdin\\n')\n"),
    C("umask and directory", "{worker}", wrapper="sh -c 'umask 027; cd {dir}/there; exec \"$@\"' x"),
    C("descriptors above 2", "{worker}", wrapper="sh -c 'exec 5>{dir}/file 7</dev/null \"$@\"' x"),
    C("descriptors above 2, a program", "--no-python {program}",
      wrapper="sh -c 'exec 5>{dir}/file 7</dev/null \"$@\"' x"),
    C("limits and priority", "{worker}",
      wrapper="sh -c 'ulimit -n 256; ulimit -c 0; exec nice -n 5 \"$@\"' x"),
    C("limits, soft only", "{worker}", wrapper="sh -c 'ulimit -Sn 300; exec \"$@\"' x"),
    C("ignored signals", "--no-python {program}", wrapper="sh -c 'trap \"\" USR1 HUP; exec \"$@\"' x",
      differs="default-signals"),
    C("one cpu", "--nproc-per-node 2 {worker}", wrapper="taskset -c 0"),
    C("cpus allowed", "--nproc-per-node cpu {worker}", wrapper="taskset -c 0"),
]

GROUPS = {
    "options": OPTIONS, "pet": PET, "programs": PROGRAMS, "redirects": REDIRECTS, "tee": TEE,
    "log directory": LOG_DIRECTORY, "nodes": NODES, "failures": FAILURES, "signals": SIGNALS,
    "refused": REFUSED, "process": PROCESS,
}
