#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to a running job: install what is missing, build, and run 3 agents with 8 workers
# each on this machine, as they would run on three.
#
#   scripts/demo.sh
#
# The workers are examples/train_ddp.py if a Python with torch is found (build/venv, or the
# python3 on PATH), else build/release/examples/hello_ranks, which needs no Python.
#
#   DEMO_PYTHON   the Python to use; DEMO_PYTHON=none for the C example
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '\n== %s\n' "$*"; }

agents=()
work=$(mktemp -d)
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    local pid
    for pid in "${agents[@]}"; do kill "$pid" 2>/dev/null || :; done
    wait
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/setup.sh build
say "building"
make -s all
muster=$PWD/build/muster

python_with_torch() {
    local python
    for python in ${DEMO_PYTHON:-build/venv/bin/python python3}; do
        if "$python" -c 'import torch.distributed' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}
free_port() { # not in use, and below those the kernel hands out by itself
    local port
    while :; do
        port=$((15000 + RANDOM % 17000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

what=(--no-python "build/release/examples/hello_ranks")
workers="hello_ranks (C, no torch found)"
if [[ -e examples/train_ddp.py ]] && python=$(python_with_torch); then
    what=(--python "$python" examples/train_ddp.py --steps 20 --step-seconds 0.2)
    workers="examples/train_ddp.py with $("$python" -c 'import torch; print("torch", torch.__version__)')"
fi
port=$(free_port)
run_id=demo-$$

say "3 agents x 8 workers: $workers"
started=$(date +%s%N)
for k in 1 2 3; do
    command=("$muster" run --nnodes 3 --nproc-per-node 8 --node-name "node$k"
        --rdzv-endpoint "127.0.0.1:$port" --rdzv-id "$run_id" "${what[@]}")
    echo "\$ ${command[*]/#"$PWD/"/} &"
    "${command[@]}" &
    agents+=($!)
done

# Midway, when all ranks run (a short job may be over before that).
while kill -0 "${agents[0]}" 2>/dev/null; do
    if "$muster" status "127.0.0.1:$port" >"$work/status" 2>/dev/null; then
        say "muster status 127.0.0.1:$port"
        cat "$work/status"
        break
    fi
    sleep 0.1
done

worst=0
codes=()
for pid in "${agents[@]}"; do
    code=0
    wait "$pid" || code=$?
    codes+=("$code")
    ((code <= worst)) || worst=$code
done
agents=()
elapsed=$((($(date +%s%N) - started) / 1000000))
say "exit codes of the 3 agents: ${codes[*]}; $((elapsed / 1000)).$(printf '%03d' $((elapsed % 1000))) s in all"
exit "$worst"
