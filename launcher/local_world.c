/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/local_world.h"

#include <sched.h>

/* Those this process may run on: torchrun counts all of the machine. */
static int64_t count_cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

int local_world_resolve(struct options *opts, char *const *envp, struct mu_err *err)
{
    (void)envp;
    switch (opts->nproc_per_node) {
    case OPTIONS_NPROC_AUTO:
    case OPTIONS_NPROC_CPU:
        opts->nproc_per_node = count_cpus();
        return 0;
    case OPTIONS_NPROC_GPU:
    case OPTIONS_NPROC_XPU:
        return mu_err_set(err, MU_E_USAGE, 0, "--nproc-per-node: no GPU is found");
    default:
        return 0;
    }
}
