#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The manual of the store client has every function of its header with the same parameters, and no
# other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declared() { # one line each: NAME PARAMETER, PARAMETER...
    sed -e 's|/\*.*\*/||; /^ *\/\*/,/\*\//d; /^#/d' include/muster/store_client.h | tr '\n' ' ' | tr ';' '\n' |
        sed -nE 's/.*[ *](store_[a-z_]+)\((.*)\) *$/\1 \2/p' | sed -E 's/ +/ /g'
}
documented() {
    sed -nE 's/^\.Fn (store_[a-z_]+) (".*")$/\1 \2/p' docs/man/muster_store_client.3.in |
        sed -E 's/" "/, /g; s/"//g'
}
diff <(declared | sort) <(documented | sort) ||
    { echo "check-store-man: the header (<) and docs/man/muster_store_client.3.in (>) differ" >&2; exit 1; }
