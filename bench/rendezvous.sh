#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Agents that meet at muster's coordinator, at torchrun's and at a bare epoll server: Markdown tables.
#
#   make bench-rendezvous                 # builds, then everything: about 4 minutes on 2 cores
#   bench/rendezvous.sh --quick           # fewer numbers of agents, 3 runs: about a minute
#   bench/rendezvous.sh --agents 1000,10000 --torch-agents none --runs 9
#
#   MUSTER_BUILD   the build to measure (build/release)
#   MUSTER_BIN     the program to measure ($MUSTER_BUILD/muster)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${MUSTER_BUILD:-build/release}
for program in muster bench/rendezvous_load bench/bare_meet; do
    [[ -x $build/$program ]] && continue
    echo "bench: $build/$program is not built: run 'make bench-rendezvous'" >&2
    exit 2
done
exec "${PYTHON:-python3}" bench/rendezvous.py "$@"
