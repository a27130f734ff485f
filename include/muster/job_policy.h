/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user wants of the members of a job and of its restarts. Said by every agent in HELLO;
 * the first one's counts.
 */
#pragma once

#include "muster/exit_codes.h"

#include <stdint.h>

/* What becomes of a node that joins while the job runs on fewer than it may. */
enum job_scale_up {
    JOB_SCALE_UP_NOW,          /* a new round with it, once the last call for others is over */
    JOB_SCALE_UP_NEXT_RESTART, /* it waits for a round that begins for another reason */
    JOB_SCALE_UP_NEVER,        /* it only takes the place of a node that is lost */
};
enum { JOB_SCALE_UP_LAST = JOB_SCALE_UP_NEVER };

/* Times in milliseconds. */
struct job_policy {
    uint32_t min_nodes;
    uint32_t max_nodes;
    uint32_t spares; /* nodes beyond those that the first round waits for */
    enum job_scale_up scale_up;

    uint32_t max_restarts;         /* within restart_window_ms */
    uint32_t max_node_losses;      /* of one node, within the window or an hour; 0: any number */
    int64_t restart_window_ms;     /* 0: as long as the job lasts */
    int64_t min_uptime_ms;         /* a round that fails sooner has made no progress */
    struct exit_codes stop_codes;  /* a worker that ends so ends the job */
    struct exit_codes retry_codes; /* a worker that ends so wants a restart, which is free */
};
