/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the shepherd, shared by shepherd.c (forks, reaping) and shepherd_orders.c (signals
 * and kills). Nobody else includes it. System calls only: this runs after a fork.
 */
#pragma once

#include "launcher/proc_tree.h"
#include "launcher/shepherd.h"

#include <stdbool.h>
#include <stddef.h>

enum { SHEPHERD_MAX_TREE = 16384 }; /* descendants looked at in one pass; a kill makes many */

/* Made before the fork, so that the shepherd allocates nothing. */
struct shepherd {
    const struct shepherd_spec *spec;
    pid_t agent_pgrp;
    pid_t pid;
    int signal_fd;
    pid_t *pids;   /* by local rank; 0: not started, or reaped */
    int *keep_fds; /* ascending */
    size_t keep_count;
    struct proc_stat *tree; /* SHEPHERD_MAX_TREE */
    pid_t *groups;          /* SHEPHERD_MAX_TREE; groups signalled in this pass */
    uint32_t live;          /* workers that have not been reaped */
    bool has_agent;
    bool is_killing;
    bool is_leftover_told;
    int64_t lease_ms; /* when the lease runs out; INT64_MAX: none was given */
    int64_t lease_span_ms;
    int64_t kill_at_ms; /* next pass */
    int64_t kill_pause_ms;
    int64_t kill_report_ms; /* next report */
};

/*
 * Blocking is right: orders come from the agent only, so while it does not read there is nothing
 * else to do, and its death ends the call.
 */
void shepherd_send_report(const struct shepherd *s, const struct shepherd_report *r);

/* An order, or the end of the agent, has come. */
void shepherd_take_orders(struct shepherd *s);

/* Kill the tree if the lease has run out. */
void shepherd_check_lease(struct shepherd *s);

/* One pass of a kill, if one is due; its next one is at kill_at_ms. */
void shepherd_kill_pass(struct shepherd *s);

/*
 * Say what is left of the tree. Returns false, and reports nothing, if /proc shows nobody and
 * `is_certain` is not set.
 */
bool shepherd_report_leftover(struct shepherd *s, bool is_certain);
