#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# muster's store beside PyTorch's server, redis and a bare echo server: Markdown tables on stdout.
#
#   make bench-store                      # builds, then everything: about 15 minutes on 2 cores
#   bench/store.sh --quick                # two numbers of connections, 3 runs: about 3 minutes
#   bench/store.sh --shape add,get16 --connections 24,2048 --server muster,bare --runs 7
#
#   MUSTER_BUILD   the build to measure (build/release)
#   MUSTER_BIN     the program to measure ($MUSTER_BUILD/muster)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${MUSTER_BUILD:-build/release}
for program in muster bench/store_load bench/store_hold bench/bare_echo; do
    [[ -x $build/$program ]] && continue
    echo "bench: $build/$program is not built: run 'make bench-store'" >&2
    exit 2
done
exec "${PYTHON:-python3}" bench/store.py "$@"
