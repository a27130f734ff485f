/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This node's share of the job: how many workers, where --nproc-per-node names devices instead of a
 * number, and on which CPUs they run. Blocks on the file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/gpu_list.h"
#include "launcher/numa_binding.h"
#include "launcher/options.h"

/* Zero-initialised is valid: a number that was given, and nobody bound. */
struct local_world {
    char source[160];             /* what the number is: "the GPUs in ..."; "": it was given */
    struct gpu_list gpus;         /* empty where nobody had to look for them */
    struct numa_binding *binding; /* NULL: workers run where muster does */
    bool is_ungiven;              /* one worker, since neither an option nor a device says more */
};

/*
 * Replace a word in opts->nproc_per_node (enum options_nproc) by the number it stands for on this
 * machine, and plan --numa-binding for it.
 *
 * cpu is the CPUs this process may use: its affinity, or the control group's quota if that is less.
 * Such workers are not bound near GPUs. gpu and xpu are the devices of gpu_list.h; without
 * --virtual-local-rank MIG devices count as one, for CUDA shows a process no second. auto is the
 * GPUs if there are any, else as cpu.
 *
 * Where a scheduler started muster and neither it nor an option says how many workers: one for each
 * GPU they will see, else one.
 *
 * MU_E_USAGE if there is no such device, or if the workers cannot be bound as they must be. On
 * success *ret_world is released with local_world_fini().
 */
int local_world_resolve(struct options *opts, const struct host_view *host,
                        struct local_world *ret_world, struct mu_err *err);

void local_world_fini(struct local_world *world);
