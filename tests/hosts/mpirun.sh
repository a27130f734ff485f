#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mpirun across the hosts of hosts.sh, without ssh.
#
#   MUSTER_HOSTS=ID mpirun.sh HOSTS [MPIRUN_OPTION...] PROGRAM [ARG...]
#
# HOSTS is as for mpirun --host: host1:8,host2:8,host3:8. mpirun runs on the first of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ ${1:-} == --rsh ]]; then # called by mpirun in ssh's place: --rsh HOST WORDS OF A SHELL COMMAND
    host=${2#host}
    shift 2
    exec "$here/hosts.sh" exec "$host" sh -c "$*"
fi
(($# >= 2)) || { sed -n '4,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
hosts=$1
first=${hosts%%[:,]*}
shift
# eth0 alone: the address of lo is on every host. These share the CPUs of one machine, and who waits
# must leave them to the others, which mpirun only knows of ranks of one host.
exec "$here/hosts.sh" exec "${first#host}" mpirun --allow-run-as-root --host "$hosts" \
    --mca plm rsh --mca ras ^slurm --mca plm_rsh_agent "$here/mpirun.sh --rsh" \
    --mca oob_tcp_if_include eth0 --mca btl_tcp_if_include eth0 --mca mpi_yield_when_idle 1 --bind-to none "$@"
