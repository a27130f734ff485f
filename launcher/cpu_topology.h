/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs belong together: NUMA nodes, cores, shared caches, sockets, as /sys/devices/system
 * says. Read when asked for, so that a question costs only the files it needs.
 *
 * Everything is seen through a set of CPUs, those this process may use: what lies outside it is
 * not there. Blocks on the file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/host_view.h"

#include <stddef.h>

/* CPUs that share something. */
struct cpu_group {
    int id; /* of a NUMA node; of a core or cache: its lowest CPU, whether it may be used or not */
    struct cpu_mask cpus; /* not empty */
};

/*
 * The NUMA nodes that have CPUs of `cpus`, in ascending order; one with all of them where the
 * kernel knows no nodes. Sets *ret_groups (owned by the caller, free()); returns how many.
 */
size_t cpu_topology_nodes(const struct host_view *host, const struct cpu_mask *cpus,
                          struct cpu_group **ret_groups);

/* The physical cores, ascending. A CPU of unknown topology is a core. */
size_t cpu_topology_cores(const struct host_view *host, const struct cpu_mask *cpus,
                          struct cpu_group **ret_groups);

/*
 * The CPUs that share a cache of the last level, ascending. CPUs whose caches are not known count
 * as sharing one.
 */
size_t cpu_topology_caches(const struct host_view *host, const struct cpu_mask *cpus,
                           struct cpu_group **ret_groups);

/* The socket of a CPU; 0 if it is not known. */
int cpu_topology_socket(const struct host_view *host, int cpu);
