#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What workers write, through muster, torchrun and cat: Markdown tables on stdout. See --help.
#
#   make bench-output                     # builds, then all rows: about 3 minutes on 2 cores
#   bench/output.sh --quick               # fewer runs; after `make bench` has built the programs
#
#   MUSTER_BUILD   the build to measure (build/release)
#   BENCH_LOGS     where log directories are made (/dev/shm: the disk is not what is measured)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${MUSTER_BUILD:-build/release}
for program in muster bench/chatter bench/listener; do
    [[ -x $build/$program ]] && continue
    echo "bench: $build/$program is not built: run 'make bench-output'" >&2
    exit 2
done
exec "${PYTHON:-python3}" bench/output.py "$@"
