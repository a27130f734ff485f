/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a failed round: another one, and at whose expense? And has a node been lost so often that
 * it is better left out? What the user wants is in struct job_policy; docs/RESTARTS.md is for them.
 *
 * Pure: the time comes in, and the history is kept here. Threading: any; nothing here is shared.
 */
#pragma once

#include "muster/job_policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct member_failure; /* rendezvous/member.h */

enum restart_verdict {
    RESTART_COUNTED, /* a further round, which costs one of max_restarts */
    RESTART_FREE,    /* a further round, which costs none */
    RESTART_GO_ON,   /* the same: without the node that was lost, or with another in its place */
    RESTART_NONE,    /* the end of the job */
};

struct restart_decision {
    enum restart_verdict verdict;
    bool is_notable; /* of RESTART_NONE: "2 of 2 restarts" would not say why */
    /* The reason for people, to follow what failed. Of RESTART_NONE a sentence of its own; of
     * RESTART_COUNTED, RESTART_GO_ON usually empty: the failure is reason enough. */
    char why[512];
};

/* How a round ended. */
struct restart_case {
    const struct member_failure *failure; /* borrowed */
    int64_t uptime_ms;  /* from the start of its last worker to the failure; -1: not all started */
    bool is_lost_node;  /* the culprit is a node that will not be in a further round... */
    bool has_enough;    /* ...and there are as many as needed without it */
    bool is_from_other; /* the round was begun by a coordinator before this one */
};

struct restart_history {
    uint32_t count;    /* restarts that cost one, since the beginning */
    uint64_t same_way; /* how the last round failed soon after its start; 0: it did not */
    bool has_forgiven; /* a round of another coordinator */
    int64_t *times_ms; /* owned; of the counted restarts, those within the window */
    size_t time_count;
    size_t time_cap;
    struct restart_loss *losses; /* owned; in the order of time */
    size_t loss_count;
    size_t loss_cap;
};

/* Zeroed is empty; releases what it owns. */
void restart_history_fini(struct restart_history *h);

/* What another coordinator has counted before us. */
void restart_adopt(struct restart_history *h, const struct job_policy *policy, uint32_t count);

/* Decide, and remember it. */
struct restart_decision restart_decide(struct restart_history *h, const struct job_policy *policy,
                                       const struct restart_case *c, int64_t now_ms);

/* A round ended without a failure, to go on with more nodes: no two that failed are in a row now.
 */
void restart_note_progress(struct restart_history *h);

/* How many restarts count against policy->max_restarts at `now_ms`. */
uint32_t restart_used(const struct restart_history *h, const struct job_policy *policy,
                      int64_t now_ms);

/*
 * A node with ranks in `round` was lost. Agents of one name are one machine to us, so a name that
 * is lost twice in a round, since the machine died under two agents, was lost once.
 */
void restart_note_loss(struct restart_history *h, const struct job_policy *policy, const char *name,
                       uint32_t round, int64_t now_ms);

/* How often a node of this name was lost lately: within restart_lost_window_ms(). */
uint32_t restart_losses(const struct restart_history *h, const struct job_policy *policy,
                        const char *name, int64_t now_ms);
int64_t restart_lost_window_ms(const struct job_policy *policy);

/* "90 s", "10 min", "1.5 h": a time span of milliseconds for people. Always NUL-terminated. */
void restart_span_text(int64_t ms, char *text, size_t size);
