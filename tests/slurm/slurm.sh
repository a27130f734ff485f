#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A private Slurm cluster on this machine. Needs root.
#
#   slurm.sh up DIR PORT     start it: everything lies in DIR (which must be empty or not exist);
#                            a TCP port for the controller, PORT, and one for each node after it
#   slurm.sh exec DIR CMD... run a command of Slurm where its users are
#   slurm.sh down DIR        end its jobs, stop it
#
# With MUSTER_HOSTS=ID node K is on host K of ../hosts/hosts.sh, which must have been made with the
# names of the nodes and one host more: the controller and its users are there. Without it all is on
# the loopback of this machine, the nodes' names do not resolve, and their host name is the machine's.
#
# What may be chosen:
#   MUSTER_SLURM_NODES         names of the nodes            (osk-gpu54 osk-gpu56 osk-gpu91)
#   MUSTER_SLURM_GPUS          GPUs of each, which are links to /dev/null                (0)
#   MUSTER_SLURM_PROCTRACK     linuxproc, or cgroup as on real clusters: signals reach the
#                              first process of a task alone, SIGKILL all of them (linuxproc)
#   MUSTER_SLURM_KILL_WAIT     seconds from SIGTERM to SIGKILL                          (10)
#   MUSTER_SLURM_NODE_TIMEOUT  seconds until a silent node is down                     (300)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
read -ra nodes <<<"${MUSTER_SLURM_NODES:-osk-gpu54 osk-gpu56 osk-gpu91}"
gpus=${MUSTER_SLURM_GPUS:-0}
proctrack=${MUSTER_SLURM_PROCTRACK:-linuxproc}

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

# Where things run: on host K, or on this machine. DIR/login has the host of the users.
on_host() { # K COMMAND...
    local k=$1
    shift
    if [[ ${MUSTER_HOSTS:-} ]]; then "$here/../hosts/hosts.sh" exec "$k" "$@"; else "$@"; fi
}
login() { on_host "$(<"$dir/login")" "$@"; } # COMMAND...
addr() { if [[ ${MUSTER_HOSTS:-} ]]; then echo "10.77.0.$1"; else echo 127.0.0.1; fi; } # K

configure() { # PORT
    local port=$1 k
    cat <<CONF
ClusterName=muster-test
SlurmctldHost=localhost($(addr $((${#nodes[@]} + 1))))
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/ctld
SlurmdSpoolDir=$dir/s/%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmdLogFile=$dir/slurmd-%n.log
TmpFS=$dir/tmp/%n
ProctrackType=proctrack/$proctrack
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
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=${MUSTER_SLURM_KILL_WAIT:-10}
SlurmdTimeout=${MUSTER_SLURM_NODE_TIMEOUT:-300}
# Clusters share the names of control groups: a job has a number of its own.
FirstJobId=$((port * 1000 + 1))
${gpus:+GresTypes=gpu}
CONF
    for k in "${!nodes[@]}"; do
        echo "NodeName=${nodes[k]} NodeHostname=${nodes[k]} NodeAddr=$(addr $((k + 1)))" \
            "Port=$((port + 1 + k)) CPUs=16 RealMemory=1000 ${gpus:+Gres=gpu:$gpus}"
    done
    # Jobs of the second take the place of those of the first, which get 4 s.
    echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=4"
    echo "PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF"
}

ready() {
    local n
    n=$(login timeout 5 sinfo -h -N -p test -o '%N %t' 2>/dev/null | grep -c ' idle$') || return 1
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
    local port=$2 k
    [[ $EUID == 0 ]] || die "must run as root"
    [[ $proctrack != cgroup || -w /sys/fs/cgroup/freezer ]] ||
        die "proctrack/cgroup needs a freezer of control groups v1 that can be written"
    for tool in slurmctld slurmd srun munged; do
        command -v "$tool" >/dev/null || die "$tool is not installed (Debian: slurm-wlm munge)"
    done
    [[ -z $(ls -A "$dir" 2>/dev/null) ]] || die "$dir is not empty"
    ((${#dir} <= 65)) || die "$dir is too long for the sockets of batch jobs below it; 65 bytes at most"
    mkdir -p "$dir"/{munge,ctld} "${nodes[@]/#/$dir/s/}" "${nodes[@]/#/$dir/tmp/}"
    export SLURM_CONF=$dir/slurm.conf
    echo $((${#nodes[@]} + 1)) >"$dir/login"
    ((gpus > 0)) || gpus=
    configure "$port" >"$SLURM_CONF"
    if [[ $gpus ]]; then # names that end in 0..N-1 give the indices of CUDA_VISIBLE_DEVICES
        mkdir "$dir/dev"
        for ((k = 0; k < gpus; k++)); do ln -s /dev/null "$dir/dev/nvidia$k"; done
        echo "Name=gpu File=$dir/dev/nvidia[0-$((gpus - 1))]" >"$dir/gres.conf"
    fi
    # The v2 plugin would need a writable hierarchy even for linuxproc.
    printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint=/sys/fs/cgroup >"$dir/cgroup.conf"
    (umask 077 && dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none)
    trap '[[ ${up_done:-} ]] || down "$dir"' EXIT
    boot "$dir/munged.pid" munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
        --pid-file="$dir/munged.pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
    boot "$dir/slurmctld.pid" login slurmctld
    for k in "${!nodes[@]}"; do
        boot "$dir/slurmd-${nodes[k]}.pid" on_host $((k + 1)) slurmd -N "${nodes[k]}"
    done
    until_true 30 ready || die "the nodes are not ready after 30 s: $(tail -n 2 "$dir"/*.log)"
    up_done=yes
}

no_jobs() { [[ -z $(login timeout 5 squeue -h -o %i 2>/dev/null) ]]; }
down() { # DIR
    local pidfile pids=() pid
    dir=$(realpath -m "$1")
    export SLURM_CONF=$dir/slurm.conf
    [[ -e $SLURM_CONF ]] || return 0
    if alive "$dir/slurmctld.pid" && ! no_jobs; then # jobs first: no task outlives its node
        mapfile -t jobs < <(login timeout 5 squeue -h -o %i)
        login timeout 10 scancel --full --signal=KILL "${jobs[@]}" || :
        login timeout 10 scancel "${jobs[@]}" || :
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
    while read -r node; do # what slurmd leaves of its control groups
        find /sys/fs/cgroup/*/"slurm_$node" -depth -type d -exec rmdir {} + 2>/dev/null || :
    done < <(sed -n 's/^NodeName=\([^ ]*\).*/\1/p' "$SLURM_CONF")
}

case ${1:-}:$# in
    up:3) up "$2" "$3" ;;
    down:2) down "$2" ;;
    exec:[3-9] | exec:[1-9][0-9]*)
        dir=$(realpath -m "$2")
        export SLURM_CONF=$dir/slurm.conf
        login "${@:3}"
        ;;
    *) sed -n '4,21s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
