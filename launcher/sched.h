/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What started this agent, and what it says of the job: a scheduler's, an MPI launcher's or a
 * container platform's variables, or a file of host names. One reader for each, `sched_<name>.c`;
 * all of them only read and nothing is run. No name is looked up, but for those of a host file.
 *
 * Options that are given win over all of this (options_check.h).
 *
 * Threading: any; blocks on the file system, not for the loop.
 */
#pragma once

#include "launcher/host_view.h"
#include "launcher/hostlist.h"
#include "muster/err.h"
#include "muster/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum sched_kind {
    SCHED_SLURM,
    SCHED_OPENMPI,
    SCHED_KUBERNETES,
    SCHED_FLUX,
    SCHED_PBS,
    SCHED_LSF,
    SCHED_HOSTFILE,
};

enum {
    SCHED_PORTS = 8, /* rungs of the ladder of ports */
    SCHED_PLACES = 8,
};

struct sched {
    enum sched_kind kind;
    const char *name; /* static: "Slurm", for messages */

    /* ---- the job ---- */
    char run_id[MU_MAX_NAME + 1]; /* the default of --rdzv-id, the same on all nodes; "": none */
    uint32_t node_count;          /* 0: it does not say */
    struct hostlist hosts;        /* owned; every node in order, or empty */
    unsigned restart_count;       /* how often the scheduler started this job again */
    char refusal[384];            /* what is wrong with it, so for all its processes; "": nothing */
    char job_id[64];              /* as the scheduler's own commands take it; "": none */

    /* ---- this process ---- */
    bool is_alone; /* it is of the job, but was not started on each of its nodes */
    bool is_echo;  /* what all processes of the job would say, another one says */

    /* ---- this node ---- */
    int32_t node_index;              /* its place in the order of the nodes; -1: it does not say */
    char node_name[MU_MAX_NAME + 1]; /* "": it does not say */
    uint32_t slots;                  /* workers it is to have; 0: it does not say */
    uint32_t gpus; /* given to the job on this node; 0: none, or it does not say */

    /* ---- the coordinator: on node 0 ---- */
    char places[SCHED_PLACES][MU_MAX_NAME + 1]; /* hosts by which it may be reached, best first */
    size_t place_count;
    uint16_t ports[SCHED_PORTS]; /* it has the first of them that is free on its node */
    size_t port_count;
    const char *advice; /* static; where it says no place: what to do about that; NULL: nothing */
    bool needs_nnodes;  /* it does not say how many nodes, and they are hardly one */

    /* ---- the end ---- */
    int64_t kill_wait_ms; /* from its SIGTERM to its SIGKILL; 0: it does not say */
};

/* What the user says of it. */
struct sched_wish {
    const char *scheduler; /* --scheduler: "auto", "none" or the name of a reader */
    const char *hostfile;  /* --hostfile, or NULL */
    bool is_outside;       /* --launch: this machine need not be one of the file's */
};

/*
 * Find out what started this process, from the environment of `host`. *ret_sched is NULL if nothing
 * did that is known, or if a worker of a job did; else owned by the caller. MU_E_USAGE if what it
 * says is contradictory: one sentence with the remedy. Where every process of the job finds the
 * same fault (several tasks on a node, say) it is in ret_sched->refusal instead, so that one of
 * them can speak for all.
 */
int sched_read(const struct host_view *host, const struct sched_wish *wish,
               struct sched **ret_sched, struct mu_err *err);

/* NULL is allowed. */
void sched_free(struct sched *sched);

/*
 * The ladder of ports of a job: derived from `seed`, what names the job on this cluster, so that
 * every node finds the same ones and two jobs rarely meet. Below the ports that Linux hands out
 * itself (32768 and up), never MU_DEFAULT_PORT, all different.
 */
void sched_ladder(const char *seed, uint16_t ports[SCHED_PORTS]);
