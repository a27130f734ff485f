/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs each worker of this node may run on, by --numa-binding: computed before anything is
 * started, always within the CPUs muster itself may use.
 *
 * The modes and their arithmetic are those of PyTorch's torch/numa/binding.py: local rank i is
 * bound near the GPU it numbers i.
 *   node          the CPUs of its GPU's NUMA node
 *   socket        those of all NUMA nodes of that node's socket
 *   exclusive     a share of the node's cores, divided by the GPUs on the node, the first ones one
 *                 core more where that leaves a rest
 *   core-complex  the CPUs of one last-level cache of the node, dealt out in turn, those with the
 *                 most CPUs first
 *   none          not bound
 *   auto          node, if binding can only help, else none: at least two workers, one for each GPU
 *                 (with --virtual-local-rank: at most), every GPU's node known and more than one
 *                 node on the machine, and no worker left with less than half its even share of
 *                 the CPUs
 * Without GPUs a mode spreads the workers over the NUMA nodes, neighbours together, as mpirun does.
 * Blocks on the file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/gpu_list.h"
#include "muster/err.h"

/* What is planned for a local rank. */
struct numa_binding_worker {
    char pci[16];         /* of its GPU; "" if there is none, or its address is not known */
    int node;             /* the NUMA node it is near */
    int mem_node;         /* where its memory is preferred; -1: where the system thinks best */
    struct cpu_mask cpus; /* not empty */
    unsigned cores;       /* physical ones in `cpus`, divided by the workers bound to the same */
};

struct numa_binding {
    const char *mode; /* as it turned out: never auto, never none; static text */
    bool has_gpus;
    size_t count;
    struct numa_binding_worker *workers; /* owned, by local rank */
};

struct numa_binding_spec {
    const char *mode; /* a value of --numa-binding */
    size_t workers;
    bool is_virtual; /* --virtual-local-rank: each worker sees one GPU */
};

/*
 * Can a binding come of it at all? Cheap, and false for most machines with `auto`: then nobody need
 * look for GPUs.
 */
bool numa_binding_is_wanted(const struct host_view *host, const struct numa_binding_spec *spec);

/*
 * Plan it. *ret_binding is NULL if no worker is to be bound, else owned by the caller, released
 * with numa_binding_free(). MU_E_USAGE if an explicit mode cannot be had here.
 */
int numa_binding_plan(const struct host_view *host, const struct numa_binding_spec *spec,
                      const struct gpu_list *gpus, struct numa_binding **ret_binding,
                      struct mu_err *err);

void numa_binding_free(struct numa_binding *binding); /* NULL is fine */

/*
 * The map as text, a line for each local rank:
 *     local rank 3: GPU 0000:4e:00.0, NUMA node 0, CPUs 0-31,64-95
 */
void numa_binding_describe(const struct numa_binding *binding, struct mu_buf *text);
