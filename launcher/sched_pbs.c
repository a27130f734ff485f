/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PBS and Torque: PBS_JOBID, and PBS_NODEFILE, a file with the hosts of the job, each once for
 * every process that it is to have (qsub(1B); "PBS Environment Variables" of the PBS Professional
 * User's Guide).
 *
 * Whether this process is the job's script or one of many that pbsdsh or the like started is
 * nowhere said for certain, so the hosts are no reason to wait for that many nodes: --nnodes is.
 */
#include "launcher/sched_impl.h"

#include "muster/file.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <stdio.h>

enum { MAX_NODE_FILE = 16 * 1024 * 1024 };

int sched_pbs_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    (void)err;
    const char *job = sched_text(host, "PBS_JOBID");
    const char *path = sched_text(host, "PBS_NODEFILE");
    if (job == NULL || path == NULL) {
        return 0;
    }
    snprintf(s->job_id, sizeof(s->job_id), "%s", job);
    snprintf(s->run_id, sizeof(s->run_id), "pbs-%s", job);
    s->advice = "the hosts of the job could not be read from PBS_NODEFILE on this node";
    mu_autofree char *full = mu_asprintf("%s%s", host->root, path);
    mu_autofree char *text = mu_file_text(full, MAX_NODE_FILE, NULL);
    struct mu_slice rest = mu_slice_of(text);
    struct mu_slice line;
    while (lines_next(&rest, &line) && s->hosts.count < MU_MAX_NODES) {
        sched_add_host(&s->hosts, mu_slice_trim(line));
    }
    sched_place_first(host, s);
    return 1;
}
