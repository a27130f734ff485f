/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flux: the variables of a task (flux-environment(7), "JOB ENVIRONMENT"). They have the job, the
 * number of tasks and of nodes and this task's number, but no names of nodes.
 */
#include "launcher/sched_impl.h"

#include <stdio.h>

int sched_flux_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    const char *job = sched_text(host, "FLUX_JOB_ID");
    int64_t tasks = sched_number(host, "FLUX_JOB_SIZE", 0);
    int64_t nodes = sched_number(host, "FLUX_JOB_NNODES", 0);
    int64_t rank = sched_number(host, "FLUX_TASK_RANK", -1);
    if (job == NULL || tasks == 0 || nodes == 0 || rank < 0) {
        return 0;
    }
    if (tasks != nodes) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "Flux started %lld tasks on %lld nodes, but muster is to be started once "
                          "on each node and starts the workers itself: flux run -N%lld "
                          "--tasks-per-node=1",
                          (long long)tasks, (long long)nodes, (long long)nodes);
    }
    s->node_count = (uint32_t)nodes;
    s->node_index = (int32_t)rank;
    s->advice = "Flux does not tell its tasks the names of the nodes (docs/LAUNCH.md)";
    snprintf(s->job_id, sizeof(s->job_id), "%s", job);
    snprintf(s->run_id, sizeof(s->run_id), "flux-%s", job);
    return 1;
}
