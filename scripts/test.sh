#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything: packages, the torch venv, lint, and all tests in the release and the asan build.
#
#   scripts/test.sh
#
# Ends with one line "N passed, N failed, N skipped", summed over all suites; a build or a check
# that fails counts as one failure. Exit status 0 only if nothing failed. Reasons of skips are
# printed with the tests. The whole output of each suite is kept in build/test-logs.
#
#   MUSTER_CHAOS_ROUNDS   rounds of the chaos test (25)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
begun=$SECONDS

# Every suite ends with a line of counts; it is taken out of the output here and summed.
counts='^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$'
suite() { # NAME COMMAND...
    local name=$1 log=$logs/$1.log rc line start=$SECONDS p=0 f=0 s=0
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$log" | grep -vE --line-buffered "$counts"
    rc=${PIPESTATUS[0]}
    while IFS= read -r line; do
        [[ $line =~ $counts ]] || continue
        p=$((p + BASH_REMATCH[1])) f=$((f + BASH_REMATCH[2])) s=$((s + BASH_REMATCH[3]))
    done < <(grep -E "$counts" "$log")
    if ((rc != 0 && f == 0)); then
        f=1
        echo "$name: failed with exit status $rc"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf -- '-- %s: %d ok, %d not ok, %d skipped in %d s\n' "$name" "$p" "$f" "$s" $((SECONDS - start))
    return "$((f > 0))"
}

scripts/setup.sh all || echo "setup failed: what is missing will show below"
scripts/venv.sh || echo "the torch tests will be skipped"

jobs=$(nproc)
suite lint make -k -j"$jobs" lint
if suite build make -j"$jobs" all bench-programs; then
    suite unit make -j"$jobs" unit
    suite sim make -j"$jobs" sim
    suite replay make -j"$jobs" replay
    suite soak make -j"$jobs" soak
    suite e2e make -j"$jobs" e2e
fi
suite asan-build make -j"$jobs" VARIANT=asan all && {
    suite asan make -k -j"$jobs" check-asan
    suite asan-e2e make -j"$jobs" VARIANT=asan e2e E2E="test_basics test_faults"
}

printf '\nall suites: %d s\n' $((SECONDS - begun))
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
