/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LSF: LSB_JOBID and LSB_MCPU_HOSTS, "hostA 4 hostB 4" ("Environment variables set for job
 * execution" of the IBM Spectrum LSF configuration reference). blaunch, which starts a task on each
 * of these hosts, numbers its tasks in LSF_PM_TASKID, and only then is this process one of as many
 * as there are hosts; the job's own script runs once, on the first of them.
 */
#include "launcher/sched_impl.h"

#include <stdio.h>
#include <string.h>

static void read_hosts(const char *text, struct hostlist *hosts)
{
    for (bool is_name = true; *text != '\0' && hosts->count < MU_MAX_NODES; is_name = !is_name) {
        text += strspn(text, " ");
        size_t len = strcspn(text, " ");
        if (is_name) {
            sched_add_host(hosts, (struct mu_slice){.ptr = text, .len = len});
        }
        text += len;
    }
}

int sched_lsf_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    const char *job = sched_text(host, "LSB_JOBID");
    const char *hosts = sched_text(host, "LSB_MCPU_HOSTS");
    int64_t task = sched_number(host, "LSF_PM_TASKID", 0);
    if (job == NULL || hosts == NULL) {
        return 0;
    }
    read_hosts(hosts, &s->hosts);
    if (task > (int64_t)s->hosts.count) {
        return mu_err_set(
            err, MU_E_USAGE, 0,
            "LSF started more tasks than the job has hosts (%zu), but muster is to be "
            "started once on each host and starts the workers itself: bsub -R "
            "'span[ptile=1]', or blaunch -z with each host once",
            s->hosts.count);
    }
    const char *index = sched_text(host, "LSB_JOBINDEX"); /* of a job array; 0: it is none */
    bool is_array = index != NULL && strcmp(index, "0") != 0;
    snprintf(s->job_id, sizeof(s->job_id), "%s", job);
    snprintf(s->run_id, sizeof(s->run_id), "lsf-%s%s%s", job, is_array ? "." : "",
             is_array ? index : "");
    s->node_count = task > 0 ? (uint32_t)s->hosts.count : 0;
    sched_place_first(host, s);
    return 1;
}
