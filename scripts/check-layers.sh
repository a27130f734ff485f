#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The layer rules of CONTRIBUTING.md, read from the #include lines.
#
#   scripts/check-layers.sh
#
# Checked of every C file and header of the product:
#   - it lies in a known folder and so has a layer: a new file cannot escape;
#   - it includes project headers of its own layer or a lower one;
#   - folders depend on each other in one direction: launcher, rendezvous, common;
#   - only uv_* files and the commands include <uv.h>, and no header outside them shows it;
#   - only mpi/mpi_* files, which are no part of muster itself, include <mpi.h>;
#   - an included project header exists and is written with its path;
#   - the first line is the licence, headers have #pragma once, no file is longer than 600 lines;
#   - processes are made, waited for and killed in one module only, the environment read in one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
fail() {
    echo "check-layers: $*" >&2
    failed=1
}

# The header of a module carries the module's layer, wherever it lies.
layer_of() { # PATH -> 0..4, or nothing
    local base=${1##*/} folder
    folder=$(folder_of "$1")
    case $folder/$base in
        launcher/main.[ch] | launcher/cmd_*) echo 4 ;;
        common/uv_*) echo 2 ;;
        common/*) echo 0 ;;
        rendezvous/uv_* | launcher/uv_* | launcher/shepherd*) echo 3 ;;
        mpi/mpi_*) echo 3 ;;
        rendezvous/* | launcher/* | mpi/*) echo 1 ;;
    esac
}
# A header in include/muster belongs to the folder of the .c with its name; one without a .c
# (plain types) to the lowest folder that may have it: common.
folder_of() { # PATH -> common|rendezvous|launcher|mpi, or nothing
    local base=${1##*/} f
    case $1 in
        include/muster/*)
            for f in common rendezvous launcher; do
                [[ ! -e $f/${base%.*}.c ]] || { echo "$f"; return; }
            done
            case $base in
                uv_*) fail "$1: no .c file has this name, so its layer is unknown" ;;
                *) echo common ;;
            esac
            ;;
        common/* | rendezvous/* | launcher/* | mpi/*) echo "${1%%/*}" ;;
    esac
}
rank_of() { # FOLDER -> 0..2
    case $1 in common) echo 0 ;; rendezvous | mpi) echo 1 ;; launcher) echo 2 ;; esac
}
may_include_uv() { # PATH
    local base=${1##*/}
    [[ $base == uv_* || $1 == launcher/cmd_* || $1 == launcher/main.c ||
        $1 == launcher/shepherd* ]]
}
# What only its owner may call. PATTERN OWNERS...
owned() {
    local pattern=$1 hit owner
    shift
    while IFS= read -r hit; do
        for owner; do
            # shellcheck disable=SC2053 # the owner is a pattern
            [[ ${hit%%:*} != $owner ]] || continue 2
        done
        fail "${hit%%:*}:$(cut -d: -f2 <<<"$hit"): only $* may call this:$(cut -d: -f3- <<<"$hit")"
    done < <(grep -nE "(^|[^_a-zA-Z0-9\"'.>])($pattern) *\(" "${files[@]}" /dev/null |
        grep -vE ':[0-9]+: *(/?\*|//)' || :)
}

mapfile -t tracked < <(git ls-files --cached --others --exclude-standard '*.[ch]' '*.def')
files=()
for path in "${tracked[@]}"; do
    [[ -e $path ]] || continue
    case $path in
        include/muster/*.h | include/muster/*.def | common/* | rendezvous/* | launcher/* | mpi/*)
            files+=("$path") ;;
        tests/* | bench/* | examples/* | scripts/cppcheck.h) ;;
        *) fail "$path: no layer is known for this folder" ;;
    esac
    [[ $(head -n 1 "$path") == '/* SPDX-License-Identifier: Apache-2.0 */' ]] ||
        fail "$path:1: the first line is not the licence line"
    lines=$(wc -l <"$path")
    ((lines <= 600)) || fail "$path: $lines lines; split it by duty (600 at most)"
    if [[ $path == *.h ]] && ! grep -q '^#pragma once$' "$path"; then
        fail "$path: no #pragma once"
    fi
    case ${path##*/} in *util* | *helper*) fail "$path: name it by what it does" ;; esac
done
((${#files[@]} > 0)) || fail "no files found"

for path in "${files[@]}"; do
    layer=$(layer_of "$path")
    folder=$(folder_of "$path")
    [[ -n $layer && -n $folder ]] || { fail "$path: no layer is known for this file"; continue; }
    while IFS=: read -r line include; do
        target=${include#*[\"<]}
        target=${target%%[\">]*}
        where=$path:$line
        if [[ $include == *'<'* ]]; then
            [[ $target != muster/* ]] || fail "$where: write \"$target\", it is ours"
            [[ $target != uv.h ]] || may_include_uv "$path" || fail "$where: only uv_* files include <uv.h>"
            [[ $target != mpi.h || $path == mpi/mpi_* ]] || fail "$where: only mpi/mpi_* files include <mpi.h>"
            continue
        fi
        case $target in
            muster/*) file=include/$target ;;
            */*) file=$target ;;
            *) fail "$where: write the path of \"$target\" from the top"; continue ;;
        esac
        [[ -e $file ]] || { fail "$where: $file does not exist"; continue; }
        to_layer=$(layer_of "$file")
        to_folder=$(folder_of "$file")
        [[ -n $to_layer ]] || { fail "$where: $file belongs to no layer"; continue; }
        ((to_layer <= layer)) || fail "$where: L$layer includes $file, which is L$to_layer"
        (($(rank_of "$to_folder") <= $(rank_of "$folder"))) ||
            fail "$where: $folder depends on $to_folder"
        # A program's own headers stay in its folder; what is shared lies in include/muster.
        [[ $file == include/* || ${file%%/*} == "$folder" ]] ||
            fail "$where: $file is private to $to_folder; what others use lies in include/muster"
    done < <(grep -nE '^ *# *include' "$path" | sed -E 's/^([0-9]+):[^"<]*/\1:/')
done

# Workers are started by the shepherd, reaped and killed by its reaper; uv_procs has the shepherd,
# uv_launch_host the ssh processes: no workers, and on the loop of a process that has none. When all
# of them are gone, uv_requeue runs scontrol.
# run_program has one short child before there are any: what speaks MPI is not to be in this process.
# muster check asks what may hang (drivers, file systems, names) in children, before there is a job.
owned 'fork|vfork|clone|clone3|posix_spawnp?|uv_spawn|waitpid|waitid|wait[34]?|kill|killpg|tgkill|pidfd_send_signal|uv_kill|uv_process_kill' \
    'launcher/shepherd*.c' launcher/reaper.c launcher/uv_procs.c launcher/uv_launch_host.c launcher/uv_requeue.c \
    launcher/run_program.c launcher/check_child.c
owned 'getenv|secure_getenv|setenv|putenv|unsetenv' 'common/env*.c' launcher/main.c 'launcher/cmd_*.c' 'mpi/mpi_*.c'

exit "$failed"
