/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open MPI: the variables that mpirun gives its processes (4.x, and 5.x, whose mpirun is PRRTE).
 * They do not say where rank 0 is: that is asked of MPI itself (cmd_mpi.h).
 */
#include "launcher/sched_impl.h"

#include <stdio.h>
#include <string.h>

/*
 * The namespace is a hash of mpirun's host and pid in 4.x: not enough where many start at once. The
 * key that its network drivers get is random, and the same on all ranks.
 */
static void name_run(const struct host_view *host, struct sched *s, const char *name_space)
{
    const char *key = sched_text(host, "OMPI_MCA_orte_precondition_transports");
    snprintf(s->run_id, sizeof(s->run_id), "%.200s%s%.16s", name_space, key != NULL ? "-" : "",
             key != NULL ? key : "");
    sched_ladder(s->run_id, s->ports);
    s->port_count = SCHED_PORTS;
}

int sched_openmpi_read(const struct host_view *host, struct sched *s, struct mu_err *err)
{
    int64_t rank = sched_number(host, "OMPI_COMM_WORLD_RANK", -1);
    int64_t size = sched_number(host, "OMPI_COMM_WORLD_SIZE", -1);
    int64_t local_size = sched_number(host, "OMPI_COMM_WORLD_LOCAL_SIZE", -1);
    const char *name_space = sched_text(host, "PMIX_NAMESPACE");
    name_space = name_space != NULL ? name_space : sched_text(host, "OMPI_MCA_ess_base_jobid");
    if (rank < 0 || size < 1 || local_size < 1 || name_space == NULL) {
        return 0;
    }
    if (rank >= size || size > MU_MAX_NODES) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "OMPI_COMM_WORLD_RANK is %lld and OMPI_COMM_WORLD_SIZE %lld: ranks count "
                          "from 0, and a job has %d nodes at most",
                          (long long)rank, (long long)size, MU_MAX_NODES);
    }
    s->is_echo = rank > 0;
    if (local_size > 1) {
        /* Other nodes may have one: each with several says it once. */
        s->is_echo = sched_number(host, "OMPI_COMM_WORLD_LOCAL_RANK", 0) > 0;
        snprintf(s->refusal, sizeof(s->refusal),
                 "mpirun started %lld processes on this node, but muster is started once on each "
                 "and starts the workers itself: give mpirun --map-by ppr:1:node, and muster "
                 "--nproc-per-node",
                 (long long)local_size);
        return 1;
    }
    s->node_index = (int32_t)rank;
    s->node_count = (uint32_t)size;
    /*
     * Without it mpirun waits a second. That is too little for --grace to be fitted to, which
     * counts for all other ends of the workers, too.
     */
    s->kill_wait_ms = 1000 * sched_number(host, "OMPI_MCA_odls_base_sigkill_timeout", 0);
    name_run(host, s, name_space);
    return 1;
}
