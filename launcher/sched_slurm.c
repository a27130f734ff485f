/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slurm: the variables of a step's task (srun(1), "OUTPUT ENVIRONMENT VARIABLES").
 */
#include "launcher/sched_impl.h"

#include <stdio.h>
#include <string.h>

int sched_slurm_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    const char *job = sched_text(host, "SLURM_JOB_ID");
    const char *step = sched_text(host, "SLURM_STEP_ID");
    const char *list = sched_text(host, "SLURM_STEP_NODELIST");
    if (job == NULL || step == NULL || list == NULL) {
        return 0;
    }
    if (hostlist_parse(list, &s->hosts, err) != 0) {
        return mu_err_wrap(err, "SLURM_STEP_NODELIST");
    }
    s->node_count = (uint32_t)s->hosts.count;
    s->node_index = (int32_t)sched_number(host, "SLURM_NODEID", -1);
    s->restart_count = (unsigned)sched_number(host, "SLURM_RESTART_COUNT", 0);
    s->gpus = (uint32_t)sched_number(host, "SLURM_GPUS_ON_NODE", 0);
    snprintf(s->job_id, sizeof(s->job_id), "%s", job);
    snprintf(s->run_id, sizeof(s->run_id), "%s.%s", job, step);
    const char *name = sched_text(host, "SLURMD_NODENAME");
    snprintf(s->node_name, sizeof(s->node_name), "%s", name != NULL ? name : "");
    snprintf(s->places[s->place_count++], sizeof(s->places[0]), "%s", s->hosts.names[0]);
    /* Where srun runs: the first node itself, mostly, if its name does not resolve here. */
    const char *srun = sched_text(host, "SLURM_LAUNCH_NODE_IPADDR");
    if (srun != NULL) {
        snprintf(s->places[s->place_count++], sizeof(s->places[0]), "%s", srun);
    }
    sched_ladder(s->run_id, s->ports);
    s->port_count = SCHED_PORTS;
    return 1;
}
