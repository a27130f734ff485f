#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every header must compile alone, and twice in one file.
#
#   CC=... CPPFLAGS=... CFLAGS=... scripts/check-headers.sh     (make check-headers sets them)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -ra compile <<<"${CC:-cc} ${CPPFLAGS:--Iinclude -I. -D_GNU_SOURCE} ${CFLAGS:--std=gnu17}"
mapfile -t headers < <(git ls-files --cached --others --exclude-standard '*.h')
failed=0
for header in "${headers[@]}"; do
    [[ $header != common/banned.h && -e $header ]] || continue # banned.h is in every file already
    if ! printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
        "${compile[@]}" -fsyntax-only -Wno-unused -x c -; then
        echo "check-headers: $header does not compile alone" >&2
        failed=1
    fi
done
((${#headers[@]} > 0)) || { echo "check-headers: no headers found" >&2; failed=1; }
exit "$failed"
