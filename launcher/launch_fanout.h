/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of `muster run --launch`: which ssh is started when, when the agents are told to
 * begin, what the end of one means to the others. No process, no clock: events go in, effects come
 * out, and are carried out in their order.
 *
 * No agent is told to begin before all hosts have answered, so a host that cannot be reached leaves
 * nothing behind. From then on the agents are a job like any other, with a coordinator of its own:
 * this is only the end of their leash.
 *
 * Threading: any, one at a time.
 */
#pragma once

#include "muster/log.h"

#include <stddef.h>
#include <stdint.h>

enum {
    LAUNCH_AT_ONCE = 64,           /* logins at a time: servers drop what is too much for them */
    LAUNCH_REACH_MS = 30 * 1000,   /* for one login, from its start to the greeting of muster */
    LAUNCH_SETTLE_MS = 2 * 1000,   /* after a host that failed, to hear of others */
    LAUNCH_PROGRESS_MS = 5 * 1000, /* between two lines of progress */
    LAUNCH_LINGER_MS = 10 * 1000,  /* after an agent that failed, for the others to end */
    LAUNCH_KILL_MS = 5 * 1000,     /* after a second signal, likewise */
};

struct launch_fanout_config {
    size_t count;             /* of hosts */
    const char *const *names; /* borrowed */
    uint32_t min_nodes;       /* with fewer agents the job cannot go on */
    int64_t grace_ms;         /* of the agents */
};

enum launch_effect_type {
    LAUNCH_START,  /* execute ssh for `host` */
    LAUNCH_BEGIN,  /* send the order to `host` */
    LAUNCH_SIGNAL, /* send `signo` to the agent of `host` */
    LAUNCH_KILL,   /* kill the ssh of `host` */
    LAUNCH_SAY,    /* log `text` */
    LAUNCH_EXIT,   /* the end, with `status`; nothing follows */
};

struct launch_effect {
    enum launch_effect_type type;
    size_t host;
    int signo;
    int status;
    enum mu_log_level level;
    char *text; /* the engine's, until the next call */
};

struct launch_fanout;

struct launch_fanout *launch_fanout_new(const struct launch_fanout_config *config, int64_t now_ms);
void launch_fanout_free(struct launch_fanout *f); /* NULL-safe */

/* ---- events ---- */

/* Muster answers on this host. */
void launch_fanout_hello(struct launch_fanout *f, size_t host, int64_t now_ms);

/*
 * The ssh of a host has ended: with an exit status, or by a signal (0: none). `why` is a sentence
 * for the case that muster never answered.
 */
void launch_fanout_ended(struct launch_fanout *f, size_t host, int exit_status, int signo,
                         const char *why, int64_t now_ms);

/* Somebody sent a signal: one that ends the job, or one that is passed on. */
void launch_fanout_signal(struct launch_fanout *f, int signo, int64_t now_ms);
void launch_fanout_pass(struct launch_fanout *f, int signo, int64_t now_ms);

void launch_fanout_tick(struct launch_fanout *f, int64_t now_ms);

/* ---- what to do ---- */

/* The next effect, valid until the next call; NULL: nothing is to be done. */
const struct launch_effect *launch_fanout_take(struct launch_fanout *f);

/* When to call launch_fanout_tick(); INT64_MAX: never. */
int64_t launch_fanout_deadline(const struct launch_fanout *f);
