#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install the Debian packages that are missing, and nothing when none is.
#
#   scripts/setup.sh [build|test|bench|all]      (all, which is build and test)
#
# build: what `make` needs; without one of these it fails.
# test:  what the tests, the linters and the benchmarks need; what cannot be installed is
#        named, and the tests that need it are skipped with that reason.
# bench: what muster's store is compared with.
set -euo pipefail

build_packages=(gcc libc6-dev make pkg-config libuv1-dev libjansson-dev)
test_packages=(libcmocka-dev clang clang-tidy clang-format cppcheck libclang-rt-14-dev iproute2
    slurm-wlm munge libopenmpi-dev openmpi-bin openssh-server openssh-client nftables
    python3 python3-venv mandoc shellcheck user-mode-linux)
bench_packages=(redis-server)

say() { echo "setup: $*" >&2; }

missing_of() { # PACKAGE...: those that are not installed, one a line
    local package
    for package; do
        # A virtual package (pkg-config, for one) is installed if something provides it.
        dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
    done
}

apt_install() { # PACKAGE...
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2
}

install_missing() { # WHAT PACKAGE...
    local what=$1 missing package left
    shift
    mapfile -t missing < <(missing_of "$@")
    ((${#missing[@]} > 0)) || return 0
    if [[ $EUID != 0 ]]; then
        say "missing for $what: ${missing[*]}"
        say "not root, so run this first: sudo apt-get install -y --no-install-recommends ${missing[*]}"
        return 1
    fi
    say "installing for $what: ${missing[*]}"
    if ! apt_install "${missing[@]}"; then
        apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are there"
        # One by one, so that one package that cannot be had does not cost the others.
        apt_install "${missing[@]}" || for package in "${missing[@]}"; do
            apt_install "$package" || say "could not install $package"
        done
    fi
    mapfile -t left < <(missing_of "${missing[@]}")
    ((${#left[@]} == 0)) || { say "still missing for $what: ${left[*]}"; return 1; }
}

main() {
    local what=${1:-all}
    case $what in build | test | bench | all) ;; *) say "usage: setup.sh [build|test|bench|all]"; return 2 ;; esac
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "this system has no apt-get; install what corresponds to: ${build_packages[*]}"
        say "and for the tests: ${test_packages[*]}"
        command -v "${CC:-cc}" make pkg-config >/dev/null && pkg-config --exists libuv jansson
        return
    fi
    if [[ $what == bench ]]; then install_missing "the benchmarks" "${bench_packages[@]}"; return; fi
    if [[ $what != test ]]; then install_missing "the build" "${build_packages[@]}" || return 1; fi
    if [[ $what != build ]]; then
        install_missing "the tests" "${test_packages[@]}" || say "going on; tests that need them are skipped"
    fi
}
main "$@"
