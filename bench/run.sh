#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# muster beside torchrun and bare fork+exec: a Markdown table on stdout. See --help.
#
#   make bench                            # builds, then all rows: about 7 minutes on 2 cores
#   bench/run.sh --row start,exit         # some; after `make bench` has built the programs once
#
# Beside it, alone: build/release/bench/bench_spawn, the shepherd over bare fork+exec.
#
#   BENCH_RUNS     runs of muster and of bare fork+exec (15); at most 5 are made of torchrun
#   MUSTER_BUILD   the build to measure (build/release)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${MUSTER_BUILD:-build/release}
for program in muster bench/stamp bench/clocked bench/bare_spawn; do
    [[ -x $build/$program ]] && continue
    echo "bench: $build/$program is not built: run 'make bench'" >&2
    exit 2
done
exec "${PYTHON:-python3}" bench/driver.py "$@"
