/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the membership engine, shared by member.c (messages, effects), member_join.c (who
 * is let in), member_index.c (who is here), member_session.c (who comes back), member_time.c
 * (deadlines), member_form.c (forming, assigning ranks), member_ranks.c (numbers of workers),
 * member_grow.c (bigger rounds), member_round.c (stopping, ending), member_decide.c (what follows a
 * failure), member_fail.c (failures and the culprit), member_report.c and member_screen.c (what
 * people read), member_missing.c (who has not come). Nobody else includes it.
 */
#pragma once

#include "rendezvous/event_ring.h"
#include "rendezvous/member.h"
#include "rendezvous/member_index.h"
#include "rendezvous/restart_policy.h"

enum {
    MEMBER_KILL_ALLOWANCE_MS = 15 * 1000, /* after the grace time, for SIGKILL to do its work */
    MEMBER_WAITING_FIRST_MS = 2 * 1000,   /* first progress line of a job that forms */
    MEMBER_WAITING_EVERY_MS = 5 * 1000,
    MEMBER_NOTED_REFUSALS = 4,
    MEMBER_NOTED_GONE = 8,
    MEMBER_FENCE_OF_TIMEOUT = 5, /* a node timeout's part, after which a node given up for its
                                    silence has stopped its workers: see agent.h, the lease */
};

struct member {
    struct member_config config;
    char *run_id; /* owned */
    enum member_state state;
    int64_t state_since_ms;
    int64_t now_ms; /* of the event being handled */

    /* Said by the first agent; later ones must agree on the least and the most nodes. */
    bool is_configured;
    struct job_policy policy;
    int64_t join_timeout_ms;
    int64_t last_call_ms;
    int64_t node_timeout_ms;
    int64_t grace_ms;

    bool has_formed;           /* there was a round of ours */
    bool is_adopted;           /* the round is that of a coordinator before this one */
    bool has_waited;           /* for agents of a coordinator before this one */
    bool is_adopted_busy;      /* an agent came back with workers of it */
    uint32_t adopted_first_id; /* nodes of an adopted round are numbered by place, from this one */
    uint32_t round;            /* 0: none yet */
    uint32_t last_round;       /* the highest number that was ever used, as far as is known */
    struct restart_history history;
    char *no_restart_why;      /* owned; beside what the number of restarts says, or NULL */
    uint32_t started_count;    /* nodes of this round whose workers were all started */
    int64_t last_started_ms;   /* when the last of them was */
    struct event_ring events;  /* what was decided, and why */
    uint32_t world_size;       /* of this round */
    uint32_t node_places;      /* of this round; 0: none yet */
    int64_t state_deadline_ms; /* of FORMING and STOPPING */
    int64_t last_call_end_ms;  /* INT64_MAX while fewer than MIN are here */
    int64_t grow_ms;           /* when a bigger round begins; INT64_MAX: nobody is there for it */
    bool is_growing;           /* the round is being stopped for that */
    bool has_finished;         /* a worker of the round has ended with success */
    int64_t next_waiting_ms;
    int64_t said_waiting_ms;  /* when the last progress line was */
    char **findings;          /* owned, by place, as the array is; NULL: none yet */
    int64_t next_pulse_ms;    /* when we look at the clock, whatever else there is to do */
    int64_t fence_ms;         /* no round begins before: a node that fell silent may have workers */
    int64_t round_kill_ms;    /* when the grace time of the round that is stopped is over */
    int round_signo;          /* with which it is stopped */
    char *round_why;          /* owned; and why */
    int64_t next_silence_ms;  /* when the node that is silent the longest is lost */
    int64_t busy_deadline_ms; /* the earliest of the nodes'; INT64_MAX: none is busy */
    int stop_signo;           /* the job was told to stop, by this signal */
    char *stop_why;           /* owned */
    int exit_status;          /* once ENDED */
    struct member_failure failure;
    char *refusals[MEMBER_NOTED_REFUSALS]; /* owned; who was turned away, newest last */
    char *gone[MEMBER_NOTED_GONE];         /* owned; names of nodes that went, newest last */

    struct member_node **nodes; /* owned; ascending ids */
    uint32_t node_count;
    uint32_t live_count;  /* of them not gone */
    uint32_t away_count;  /* of the live: their connection broke */
    uint32_t busy_count;  /* of the live: must stop old workers first */
    uint32_t stuck_count; /* of the live: cannot get rid of old workers, get no ranks */
    uint32_t node_cap;
    uint32_t next_node_id;
    uint32_t over_count;  /* the first so many nodes have nothing left of this round */
    uint32_t forgettable; /* gone, with no part in the round; forgotten at the next join */
    struct member_index index;

    struct member_effect *effects; /* owned; [effect_head, effect_count) are still to be taken */
    uint32_t effect_head;
    uint32_t effect_count;
    uint32_t effect_cap;
};

static inline bool member_node_is_live(const struct member_node *n)
{
    return n->state != MEMBER_NODE_GONE;
}

/* Live nodes that can have ranks. */
static inline uint32_t member_usable(const struct member *m)
{
    return m->live_count - m->stuck_count;
}

/* May a round begin, as far as workers of earlier ones are concerned? */
static inline bool member_is_clear(const struct member *m)
{
    return m->busy_count == 0 && m->away_count == 0 && m->now_ms >= m->fence_ms;
}

static inline int64_t member_heartbeat_ms(const struct member *m)
{
    return m->node_timeout_ms / 5;
}

/* Has a part in the current round. */
static inline bool member_node_is_placed(const struct member_node *n)
{
    return n->node_rank >= 0;
}

/* ---- member.c ---- */
struct member_effect *member_effect_add(struct member *m, enum member_effect_kind kind);
struct member_effect *member_send(struct member *m, const struct member_node *n,
                                  const struct ctl_msg *msg);
void member_log(struct member *m, enum mu_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A decision: logged, and kept for those who ask later. `n` may be NULL. */
void member_record(struct member *m, enum mu_log_level level, enum event_kind kind,
                   const struct member_node *n, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Kept without a log line: another one, or the report, says it too. `n` may be NULL. */
void member_note(struct member *m, enum event_kind kind, const struct member_node *n,
                 const char *text);
void member_goto(struct member *m, enum member_state state);
void member_node_free(struct member_node *n);
struct member_node *member_find_node(const struct member *m, uint32_t id); /* NULL: none */

/* ---- member_join.c ---- */
struct member_node *member_node_new(struct member *m, const struct ctl_hello *hello,
                                    const char *address);
void member_welcome(struct member *m, const struct member_node *n, bool is_resumed);

/* ---- member_time.c ---- */
int64_t member_clear_ms(const struct member *m); /* when to look again at member_is_clear() */

/* ---- member_session.c ---- */
void member_session_away(struct member *m, struct member_node *n, const char *why);
bool member_session_is_whole(const struct ctl_hello *h); /* its numbers fit each other */
/* May an agent that says this go on as this node? */
bool member_session_fits(const struct member *m, const struct member_node *n,
                         const struct ctl_hello *h);
void member_session_resume(struct member *m, struct member_node *n, const struct ctl_hello *h,
                           const char *address);
/* The place of a round that began under another coordinator; NULL: there is none for it. */
struct member_node *member_session_adopt(struct member *m, const struct ctl_hello *h,
                                         const char *address);

/* ---- member_fail.c ---- */
void member_failure_clear(struct member_failure *f);
int member_worker_exited(struct member *m, struct member_node *n, const struct ctl_exited *x,
                         struct mu_err *err);
/* Its agent is there but has given up the round, or (CAUSE_COLLATERAL) did not end it in time. */
void member_node_failed(struct member *m, struct member_node *n, const char *why,
                        enum cause_blame blame);
void member_node_gone(struct member *m, struct member_node *n, const char *why,
                      enum cause_blame blame);

/* ---- member_form.c ---- */
uint32_t member_places(const struct member *m); /* nodes of a round that would begin now */
void member_form_begin(struct member *m); /* enter FORMING, for the first or a further round */
void member_form_try(struct member *m);   /* assign if everybody needed is here */
void member_form_expire(struct member *m);

/* ---- member_ranks.c ---- */
/*
 * Blocks of ranks in the order of nodes; the same among the nodes of each role. Returns how many
 * workers there are; `ret_role_worlds`: how many of each node's role.
 */
uint32_t member_number_ranks(const struct member *m, struct member_node *const *placed,
                             uint32_t count, uint32_t *ret_role_worlds);

/* ---- member_grow.c ---- */
/* A node without a place is there, or gone, or can have ranks now. RUNNING only; else no effect. */
void member_grow_check(struct member *m);
void member_tell_spare(struct member *m, const struct member_node *n);

/* ---- member_round.c ---- */
void member_stop_round(struct member *m, int signo, const char *why);  /* RUNNING -> STOPPING */
void member_stop_again(struct member *m, const struct member_node *n); /* the same order */
void member_end_again(struct member *m, const struct member_node *n);
void member_round_check(struct member *m); /* has everybody stopped? then what? */
void member_end(struct member *m, int exit_status);
const struct member_node *member_lead(const struct member *m);

/* ---- member_decide.c ---- */
void member_decide(struct member *m); /* a failed round has stopped: another one, or the end */

/* ---- member_missing.c ---- */
void member_missing_clear(struct member *m);
/* Append "node3: never seen; node4: ..."; false: no names can be told. */
bool member_text_missing(const struct member *m, struct mu_buf *out);

/* ---- member_report.c: texts owned by the caller ---- */
char *member_text_waiting(const struct member *m);
/* A node has gone: it is named as long as nodes are missing and none of its name is back. */
void member_note_gone(struct member *m, const char *name);
char *member_text_places(struct member_node *const *placed, uint32_t count); /* "a, b and 3 more" */
char *member_text_failure(const struct member *m); /* one line: who and how */
char *member_text_failure_and_cause(const struct member *m);
char *member_text_summary(const struct member *m); /* one line: how the job ended */

/* ---- member_screen.c ---- */
char *member_text_report(const struct member *m); /* one screen; a success has none: NULL */
