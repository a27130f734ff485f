#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run the test programs of one suite, each with a time limit, and sum up their counts.
#
#   scripts/run-suite.sh SUITE LOG_DIR PROGRAM...
#
# A program's output goes to LOG_DIR/NAME.log and is shown if it fails. Counted are cmocka's
# lines; else a closing "N passed, N failed"; else the program itself, by its exit status.
# Last line: "N passed, N failed, N skipped". Exit status 0 only if none failed.
#
#   TEST_JOBS      programs at a time (2)
#   TEST_TIMEOUT   seconds for one program (120)
set -euo pipefail

suite=$1 logs=$2
shift 2
mkdir -p "$logs"
if (($# == 0)); then
    echo "# $suite: there are no programs in this suite"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi

run_one() { # PROGRAM: writes NAME.log and NAME.counts
    local program=$1 name args=() rc=0 passed failed skipped start=$SECONDS
    name=${program##*/}
    local log=$logs/$name.log
    if [[ $suite == replay ]]; then
        shopt -s nullglob
        args=(tests/fuzz/corpus/"${name#replay_}"/*)
        if ((${#args[@]} == 0)); then
            echo "0 0 1 no corpus in tests/fuzz/corpus/${name#replay_}" >"$logs/$name.counts"
            return
        fi
    fi
    timeout --kill-after=5 "${TEST_TIMEOUT:-120}" "$program" "${args[@]}" >"$log" 2>&1 || rc=$?
    read -r passed failed skipped < <(awk '
        /^\[  PASSED  \] [0-9]+ test/ { p += $4; seen = 1 }
        /^ *[0-9]+ FAILED TEST/ { f += $1; seen = 1 }
        /^\[  SKIPPED \] [0-9]+ test/ { s += $4; seen = 1 }
        /^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3; s += $5; seen = 1 }
        END { if (!seen) p = 1; print p + 0, f + 0, s + 0 }' "$log")
    if ((rc != 0 && failed == 0)); then
        failed=1
        passed=$((passed > 0 ? passed - 1 : 0))
    fi
    local note="$((SECONDS - start)) s"
    ((rc != 124)) || note="stopped after ${TEST_TIMEOUT:-120} s"
    ((rc == 0 || rc == 124)) || note="exit status $rc"
    echo "$passed $failed $skipped $note" >"$logs/$name.counts"
}

jobs_max=${TEST_JOBS:-2}
for program; do
    rm -f "$logs/${program##*/}".{counts,log}
    while (($(jobs -rp | wc -l) >= jobs_max)); do wait -n || true; done
    run_one "$program" &
done
wait

passed=0 failed=0 skipped=0
for program; do
    name=${program##*/}
    p=0 f=1 s=0 note="no result"
    if [[ -s $logs/$name.counts ]]; then read -r p f s note <"$logs/$name.counts"; fi
    printf '%-7s %-28s %4d passed %3d failed %3d skipped  (%s)\n' \
        "$suite" "$name" "$p" "$f" "$s" "$note"
    if ((f > 0)); then
        tail -n 60 "$logs/$name.log" | sed 's/^/    /'
    fi
    if ((s > 0)); then
        [[ ! -e $logs/$name.log ]] || sed -nE 's/^\[  SKIPPED \] ([a-z_0-9]+)$/    skipped: \1/p' "$logs/$name.log" | sort -u
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
