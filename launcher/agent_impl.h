/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the agent engine, shared by agent.c (messages, signals, time), agent_link.c (the
 * connection), agent_round.c (the workers) and agent_report.c (what is said of them). Nobody else
 * includes it.
 */
#pragma once

#include "launcher/agent.h"

enum {
    AGENT_KILL_WAIT_MS = 10 * 1000, /* after SIGKILL, for the kernel to take the processes away */
    AGENT_END_WAIT_MS = 20 * 1000,  /* after stopping on a signal, for the other nodes to stop */
    AGENT_LAST_WAIT_MS = 1000,      /* the same after a third signal */
    AGENT_ECHO_MS = 1000,           /* a signal this soon after the first is the same wish */
    AGENT_RETRY_FIRST_MS = 20,
    AGENT_RETRY_MAX_MS = 1000,
    AGENT_WELCOME_WAIT_MS = 5 * 1000, /* for an answer to HELLO: a stranger may hold the port */
    AGENT_HERE_WAIT_MS = 3 * 1000,    /* for an endpoint on this machine, on one node */
    AGENT_UNREACHABLE_FIRST_MS = 2 * 1000, /* first line about an unreachable coordinator */
    AGENT_UNREACHABLE_EVERY_MS = 10 * 1000,
    AGENT_BEATS = 8,          /* of which the time of sending is remembered */
    AGENT_STOP_PERCENT = 10,  /* of the node timeout: from the end of the lease to SIGKILL, */
    AGENT_FENCE_PERCENT = 15, /* and to the shepherd's, should this process stand still */
};

/* How a worker ended, kept to be said again. Texts point into `text`. */
struct agent_kept_exit {
    struct ctl_exited exited;
    char *text; /* owned */
};

struct agent {
    struct agent_config config;
    enum agent_state state;
    int64_t now_ms;

    /* the link */
    struct ladder ladder;    /* if config.ladder is set: where we look */
    struct ladder_rung rung; /* of it, asked now; or where we were welcome */
    bool is_linked;          /* a connection is open */
    bool has_said_busy;      /* in its HELLO */
    bool is_welcome;         /* the coordinator took us in, at least once */
    bool is_no_stranger;     /* a coordinator answered at the endpoint, if only to turn us away */
    bool is_embedded;        /* it lives inside another agent, and dies with it */
    uint64_t coordinator_id;
    int64_t heartbeat_ms;
    int64_t timeout_ms;
    uint64_t beat;                /* number of the last one sent; HELLO counts as one */
    int64_t beat_ms[AGENT_BEATS]; /* when it was, by number modulo AGENT_BEATS */
    int64_t counted_ms;           /* until when an answer says that the coordinator counts on us */
    int64_t lease_ms; /* until when the coordinator counts on us; INT64_MAX: no member yet */
    int64_t next_heartbeat_ms; /* INT64_MAX while there is no link */
    int64_t welcome_ms;        /* by when HELLO must be answered; INT64_MAX: it is */
    int64_t retry_ms;          /* when to connect again; INT64_MAX: not */
    int64_t retry_wait_ms;
    int64_t unreachable_since_ms;
    int64_t unreachable_say_ms;
    char unreachable_why[256];
    int64_t link_deadline_ms; /* by when a link is needed; INT64_MAX while there is one */

    /* the round */
    struct assignment assignment; /* the last one; its round is 0 when there is nothing to tell */
    bool has_workers;             /* something of the round may be alive */
    uint32_t *pids;               /* owned; by local rank */
    bool is_started;              /* STARTED is true of it */
    bool is_over;                 /* STOPPED is, with `left` processes */
    uint32_t left;
    bool is_given_up;              /* the coordinator has taken us out of it */
    struct agent_kept_exit *exits; /* owned; in the order in which they ended */
    uint32_t exit_count;
    uint64_t signals_sent; /* stop signals the workers got, a bit each: each only once */
    bool was_killed;       /* SIGKILL was ordered */
    int64_t kill_ms;       /* when the grace is over, or SIGKILL has failed */
    uint32_t stuck_round;  /* whose processes survive SIGKILL; 0: none */

    /* the end */
    int signo;             /* we were told to stop by this signal */
    int64_t signo_ms;      /* when that was */
    uint32_t stop_signals; /* how often: the second means now, the fourth at once */
    bool has_end;          /* the coordinator said how the job ended */
    bool is_lost;          /* nothing more to expect of it: exit once the workers are gone */
    int exit_status;       /* for that case */
    int64_t end_ms;        /* do not wait for END any longer */

    struct agent_effect *effects; /* owned; [head, count) are still to be taken */
    uint32_t effect_head;
    uint32_t effect_count;
    uint32_t effect_cap;
};

/* Connected, and the coordinator has taken us in on this connection. */
static inline bool agent_is_joined(const struct agent *a)
{
    return a->is_linked && a->welcome_ms == INT64_MAX;
}

/* ---- agent.c ---- */
struct agent_effect *agent_effect_add(struct agent *a, enum agent_effect_kind kind);
/* The effect, for what else is to be known of it. */
struct agent_effect *agent_say(struct agent *a, enum mu_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Messages for a coordinator that is out of reach are dropped: it gave us up, or will. */
void agent_tell(struct agent *a, const struct ctl_msg *msg);
void agent_goto(struct agent *a, enum agent_state state);
void agent_leave_with(struct agent *a, int exit_status); /* DONE */
/* No coordinator will tell us what to do any more: stop what runs within `grace_ms`, then exit. */
void agent_give_up(struct agent *a, int exit_status, int64_t grace_ms);

/* ---- agent_link.c ---- */
void agent_link_begin(struct agent *a);
void agent_link_welcome(struct agent *a, const struct ctl_welcome *w);
void agent_link_refused(struct agent *a, const struct ctl_refused *r);
void agent_link_answered(struct agent *a, uint64_t beat);
void agent_link_close(struct agent *a); /* our side hangs up */
/* Has the coordinator counted on us lately? If not, the link is made anew. */
bool agent_link_is_fresh(struct agent *a);
void agent_link_tick(struct agent *a);
int64_t agent_link_deadline(const struct agent *a);

/* ---- agent_round.c ---- */
void agent_round_lease(struct agent *a); /* it was prolonged, or workers were started */
/* The job is over, so nobody takes this place: the workers have their grace time, whatever the
 * lease. */
void agent_round_end(struct agent *a);
void agent_round_assign(struct agent *a, const struct ctl_assign *s);
void agent_round_stop(struct agent *a, int signo, int64_t grace_ms);
void agent_round_tick(struct agent *a);
void agent_round_whose(struct agent *a, const struct ctl_whose *w);

/* ---- agent_report.c ---- */
void agent_report_started(struct agent *a);
void agent_report_exited(struct agent *a, uint32_t local_rank, const struct agent_exit *x);
void agent_report_stopped(struct agent *a);
void agent_report_again(struct agent *a); /* all of the last round, after the session was resumed */
void agent_report_forget(struct agent *a); /* there is no round any more */
