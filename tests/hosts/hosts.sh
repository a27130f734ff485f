#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Hosts out of network namespaces, with faults on demand. Needs root.
#
#   MUSTER_HOSTS=ID hosts.sh up N [NAME...]   make hosts 1..N, with these names beside hostK
#   MUSTER_HOSTS=ID hosts.sh down             remove them and kill what runs on them
#   MUSTER_HOSTS=ID hosts.sh exec K CMD...    run a command on host K (and become it)
#   MUSTER_HOSTS=ID hosts.sh fault K cut      silently lose every packet of host K: the link stays
#                                             up, nobody gets an RST
#                                   down      unplug: K's link loses its carrier
#                                   crash     power off: cut, then SIGKILL all of K's processes
#                                   delay MS [PCT]   MS milliseconds each way, PCT % lost
#                                   loss PCT  PCT % lost
#                                   cut-in    what is sent to K is lost, what K sends arrives
#                                   cut-out   the other way round
#                                   cut2      as cut, but of the second network alone
#                                   heal      undo (not the SIGKILL)
#
# ID (letters and digits, 8 at most) keeps several sets apart: namespaces ID-h1, ID-h2, ... and
# the switch ID-sw, with bridges that no packet filter of the machine touches. Nothing is plugged
# into the machine's own network. Host K is hostK, 10.77.0.K and fd77::K (hostK-v6) on eth0, and
# 10.78.0.K on eth1, which is another network, with its own loopback and host name (its NAME if
# it has one); files and processes are shared with the machine. What is said of faults is of eth0; cut and crash are of both.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

die() { echo "hosts: $*" >&2; exit 1; }
usage() { sed -n '4,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }

id=${MUSTER_HOSTS:-mu}
[[ $id =~ ^[a-z0-9]{1,8}$ ]] || die "MUSTER_HOSTS must be up to 8 letters and digits"
run=/run/muster-hosts/$id # the hosts files and the pid files of relays
switch=$id-sw

on_switch() { ip -n "$switch" "$@"; }
host_list() {
    local dir
    for dir in "$run"/[0-9]*; do [[ ! -d $dir ]] || echo "${dir##*/}"; done
}
need_host() { [[ $1 =~ ^[0-9]+$ && -d $run/$1 ]] || die "no host '$1'; run: hosts.sh up N"; }
port_state() { bridge -n "$switch" link set dev "$1" state "$2"; } # 0 disabled, 3 forwarding
kill_all() { # K: all processes of a host
    local pids
    for ((t = 0; t < 50; t++)); do
        mapfile -t pids < <(ip netns pids "$id-h$1" 2>/dev/null)
        ((${#pids[@]} > 0)) || return 0
        kill -KILL "${pids[@]}" 2>/dev/null || :
        sleep 0.02
    done
    die "host $1 has processes that do not die: ${pids[*]}"
}

up() { # N [NAME...]
    local n=$1 k name
    shift
    [[ $n =~ ^[1-9][0-9]?$ && $# -le $n ]] || usage
    [[ $EUID == 0 ]] || die "must run as root"
    mkdir -p "$run/stash"
    echo "127.0.0.1 localhost" >"$run/hosts"
    : >"$run/resolv.conf" # no DNS: unknown names fail at once
    ip netns add "$switch"
    on_switch link add br0 type bridge
    on_switch link add br1 type bridge
    on_switch link set br0 up
    on_switch link set br1 up
    for ((k = 1; k <= n; k++)); do
        name=${!k-}
        printf '10.77.0.%s %shost%s\nfd77::%s host%s-v6\n' "$k" "${name:+$name }" "$k" "$k" "$k" >>"$run/hosts"
        mkdir -p "$run/$k"
        echo "${name:-host$k}" >"$run/$k/name"
        ip netns add "$id-h$k"
        ip link add eth0 netns "$id-h$k" type veth peer name "p$k" netns "$switch"
        ip link add eth1 netns "$id-h$k" type veth peer name "q$k" netns "$switch"
        ip -n "$id-h$k" addr add "10.77.0.$k/24" dev eth0
        ip -n "$id-h$k" addr add "fd77::$k/64" dev eth0 nodad
        ip -n "$id-h$k" addr add "10.78.0.$k/24" dev eth1
        ip -n "$id-h$k" link set lo up
        ip -n "$id-h$k" link set eth0 up
        ip -n "$id-h$k" link set eth1 up
        on_switch link set "p$k" master br0 up
        on_switch link set "q$k" master br1 up
    done
    for ((k = 1; k <= n; k++)); do
        for ((t = 0; t < 100; t++)); do
            if [[ $(bridge -n "$switch" link show dev "p$k") == *'state forwarding'* &&
                $(bridge -n "$switch" link show dev "q$k") == *'state forwarding'* ]]; then
                continue 2
            fi
            sleep 0.05
        done
        die "port of host $k does not forward"
    done
}

down() {
    local k
    for k in $(host_list); do
        relay_stop "$k" || :
        kill_all "$k"
        ip netns delete "$id-h$k" 2>/dev/null || :
    done
    ip netns delete "$switch" 2>/dev/null || :
    rm -rf "$run"
    rmdir /run/muster-hosts 2>/dev/null || :
}

# Like "ip netns exec", which however would hide the control groups.
exec_on() { # K COMMAND...
    local k=$1
    need_host "$k"
    shift
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec nsenter --net="/run/netns/$id-h$k" unshare --mount --uts sh -euc '
        run=$1 name=$2
        shift 2
        hostname "$name"
        mount --bind "$run/hosts" /etc/hosts
        mount --bind "$run/resolv.conf" /etc/resolv.conf
        mount --rbind /sys/fs/cgroup "$run/stash"
        mount -t sysfs sysfs /sys
        mount --move "$run/stash" /sys/fs/cgroup
        exec "$@"' sh "$run" "$(<"$run/$k/name")" "$@"
}

relay_stop() { # K
    local pidfile=$run/$1/relay.pid
    [[ -s $pidfile ]] || return 0
    kill "$(<"$pidfile")" 2>/dev/null || :
    rm -f "$pidfile"
    on_switch link delete "r$1"
    on_switch link set "p$1" master br0
}
relay_start() { # K MS PCT_OUT PCT_IN: a packet relay between the host's cable and the bridge
    local k=$1
    relay_stop "$k"
    on_switch link add "r$k" type veth peer name "b$k"
    on_switch link set "b$k" master br0 up
    on_switch link set "r$k" up
    on_switch link set "p$k" nomaster
    ip netns exec "$switch" python3 "$here/relay.py" "p$k" "r$k" "$2" "$3" "$4" \
        "$run/$k/relay.pid" \
        </dev/null >/dev/null 2>&1 &
    for ((t = 0; t < 100; t++)); do
        [[ ! -s $run/$k/relay.pid ]] || return 0
        sleep 0.05
    done
    die "the packet relay of host $k did not start"
}

fault() {
    local k=$1
    need_host "$k"
    case $2 in
        cut) relay_stop "$k"; port_state "p$k" 0; port_state "q$k" 0 ;;
        cut2) port_state "q$k" 0 ;;
        down) on_switch link set "p$k" down ;;
        crash) relay_stop "$k"; port_state "p$k" 0; port_state "q$k" 0; kill_all "$k" ;;
        delay) relay_start "$k" "${3:?milliseconds}" "${4:-0}" "${4:-0}" ;;
        loss) relay_start "$k" 0 "${3:?percent}" "$3" ;;
        cut-in) relay_start "$k" 0 0 100 ;;
        cut-out) relay_start "$k" 0 100 0 ;;
        heal) on_switch link set "p$k" up; relay_stop "$k"; port_state "p$k" 3; port_state "q$k" 3 ;;
        *) usage ;;
    esac
}

what=${1:-}
shift || usage
case $what:$# in
    up:0) usage ;;
    up:*) up "$@" ;;
    down:0) down ;;
    exec:0 | exec:1 | fault:0 | fault:1) usage ;;
    exec:*) exec_on "$@" ;;
    fault:*) fault "$@" ;;
    *) usage ;;
esac
