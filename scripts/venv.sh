#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make build/venv, a Python with the torch the tests run against (CPU) and Hugging Face accelerate,
# and nothing if they are there.
#
#   scripts/venv.sh
#
# On failure it says why, leaves the reason in build/venv.reason for the tests to show, and
# exits 1: the torch tests are then skipped, everything else runs. Without accelerate alone the
# reason is in build/venv.accelerate.reason, and it exits 0: one module of tests wants it.
#
#   PYTHON              the interpreter to start from (first fitting python3 >= 3.10)
#   TORCH_VERSION       (2.13.0)
#   ACCELERATE_VERSION  (1.15.0)
#   VENV_TIMEOUT        seconds for one installation (900)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${TORCH_VERSION:-2.13.0}
accelerate=${ACCELERATE_VERSION:-1.15.0}
venv=build/venv
reason=build/venv.reason

say() { echo "venv: $*" >&2; }
give_up() {
    say "$*"
    echo "$*" >"$reason"
    exit 1
}
made() { # is the right torch in there? (asks the package list: importing torch takes seconds)
    [[ -x $venv/bin/python ]] && "$venv/bin/python" - "$version" <<'PY' 2>/dev/null
import importlib.metadata as metadata, sys
metadata.version("numpy")
sys.exit(metadata.version("torch").split("+")[0] != sys.argv[1])
PY
}
has_accelerate() {
    "$venv/bin/python" - "$accelerate" <<'PY' 2>/dev/null
import importlib.metadata as metadata, sys
sys.exit(metadata.version("accelerate") != sys.argv[1])
PY
}
find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
        if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}
install() { timeout "${VENV_TIMEOUT:-900}" "$venv/bin/python" -m pip install -q --no-input "$@" >&2; }
add_accelerate() { # torch is there; no more than a line if this fails
    local why=build/venv.accelerate.reason
    if has_accelerate; then
        rm -f "$why"
    elif [[ -L $venv ]]; then
        echo "$venv is a link to a place that has no accelerate $accelerate; not touching it" >"$why"
    elif install --retries 1 "torch==$version" "accelerate==$accelerate" 2>build/venv.log; then
        rm -f "$why"
    else
        echo "accelerate $accelerate could not be installed: $(tail -n 1 build/venv.log)" >"$why"
    fi
    [[ ! -f $why ]] || say "$(<"$why")"
}

mkdir -p build
exec 9>build/venv.lock
flock 9
if made; then
    rm -f "$reason"
    add_accelerate
    exit 0
fi
[[ ! -L $venv ]] || give_up "$venv is a link to a place that has no torch $version; not touching it"
python=$(find_python) || give_up "no python3 of 3.10 or newer with ensurepip found (Debian: python3-venv)"
say "making $venv with torch $version from $python"
rm -rf "$venv"
"$python" -m venv "$venv" || give_up "$python -m venv $venv failed"
if ! install "torch==$version+cpu" numpy 2>build/venv.log; then
    # The default wheel for Linux brings the CUDA libraries along.
    free_gb=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1048576))
    ((free_gb >= 12)) || give_up "no CPU build of torch $version found, and $free_gb GB free are too little for the default one"
    say "no CPU build of torch $version found; the default one may fetch several gigabytes"
    install "torch==$version" numpy 2>>build/venv.log ||
        give_up "torch $version could not be installed: $(tail -n 1 build/venv.log)"
fi
made || give_up "pip succeeded, but torch $version is not in $venv"
rm -f "$reason"
add_accelerate
say "done"
