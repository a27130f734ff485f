#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A private Slurm cluster of three nodes on the loopback of this machine. Needs root.
#
#   slurm.sh up DIR PORT     start it: everything lies in DIR (which must be empty or not exist);
#                            TCP ports PORT .. PORT+3. Then: export SLURM_CONF=DIR/slurm.conf
#   slurm.sh down DIR        end its jobs, stop it
#
# The nodes are called osk-gpu54, osk-gpu56, osk-gpu91; their host names and /tmp are the machine's.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
nodes=(osk-gpu54 osk-gpu56 osk-gpu91)

die() { echo "slurm: $*" >&2; exit 1; }
alive() { [[ -s $1 && -e /proc/$(<"$1")/exe ]]; } # PIDFILE
until_true() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

configure() { # DIR PORT
    local dir=$1 port=$2 k
    cat <<CONF
ClusterName=muster-test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/ctld
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmdLogFile=$dir/slurmd-%n.log
TmpFS=$dir/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MailProg=/bin/true
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
KillWait=${MUSTER_SLURM_KILL_WAIT:-10}
SlurmdTimeout=300
CONF
    for k in "${!nodes[@]}"; do
        echo "NodeName=${nodes[k]} NodeHostname=${nodes[k]} NodeAddr=127.0.0.1" \
            "Port=$((port + 1 + k)) CPUs=16 RealMemory=1000"
    done
    echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

ready() {
    local n
    n=$(timeout 5 sinfo -h -N -o '%N %t' 2>/dev/null | grep -c ' idle$') || return 1
    [[ $n == "${#nodes[@]}" ]]
}
boot() { # PIDFILE COMMAND...: the daemons put themselves in the background
    local pidfile=$1
    shift
    "$@" </dev/null >>"$dir/boot.log" 2>&1 || die "$1 did not start: $(tail -n 3 "$dir/boot.log")"
    until_true 10 alive "$pidfile" || die "$1 did not stay up: $(tail -n 3 "$dir"/*.log)"
}

up() { # DIR PORT
    dir=$(realpath -m "$1")
    local port=$2 node
    [[ $EUID == 0 ]] || die "must run as root"
    for tool in slurmctld slurmd srun munged; do
        command -v "$tool" >/dev/null || die "$tool is not installed (Debian: slurm-wlm munge)"
    done
    [[ -z $(ls -A "$dir" 2>/dev/null) ]] || die "$dir is not empty"
    mkdir -p "$dir"/{munge,ctld} "${nodes[@]/#/$dir/spool/}" "${nodes[@]/#/$dir/tmp/}"
    export SLURM_CONF=$dir/slurm.conf
    configure "$dir" "$port" >"$SLURM_CONF"
    # The v2 plugin would need a writable hierarchy even for linuxproc.
    printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint=/sys/fs/cgroup >"$dir/cgroup.conf"
    (umask 077 && dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none)
    trap '[[ ${up_done:-} ]] || down "$dir"' EXIT
    boot "$dir/munged.pid" munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
        --pid-file="$dir/munged.pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
    boot "$dir/slurmctld.pid" slurmctld
    for node in "${nodes[@]}"; do boot "$dir/slurmd-$node.pid" slurmd -N "$node"; done
    until_true 30 ready || die "the nodes are not ready after 30 s: $(tail -n 2 "$dir"/*.log)"
    up_done=yes
}

no_jobs() { [[ -z $(timeout 5 squeue -h -o %i 2>/dev/null) ]]; }
down() { # DIR
    local dir pidfile pids=() pid
    dir=$(realpath -m "$1")
    export SLURM_CONF=$dir/slurm.conf
    [[ -e $SLURM_CONF ]] || return 0
    if alive "$dir/slurmctld.pid" && ! no_jobs; then # jobs first: no task outlives its node
        timeout 5 squeue -h -o %i | xargs -r timeout 10 scancel --full --signal=KILL || :
        timeout 5 squeue -h -o %i | xargs -r timeout 10 scancel || :
        until_true 10 no_jobs || echo "slurm: jobs do not end" >&2
    fi
    for pidfile in "$dir"/slurmd-*.pid "$dir/slurmctld.pid" "$dir/munged.pid"; do
        if alive "$pidfile"; then
            pid=$(<"$pidfile")
            kill "$pid" 2>/dev/null || :
            pids+=("$pid")
        fi
    done
    for pid in "${pids[@]}"; do
        # shellcheck disable=SC2016 # expanded when it is called
        until_true 5 bash -c '[[ ! -e /proc/$1/exe ]]' - "$pid" || kill -KILL "$pid" 2>/dev/null || :
    done
    for node in "${nodes[@]}"; do # what slurmd leaves of its control groups
        find /sys/fs/cgroup/*/"slurm_$node" -depth -type d -exec rmdir {} + 2>/dev/null || :
    done
}

case ${1:-}:$# in
    up:3) up "$2" "$3" ;;
    down:2) down "$2" ;;
    *) sed -n '4,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
