/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Membership of one job: who is in, which round runs, what a failure means.
 *
 * A pure engine: what happened comes in through the functions below, with the time; what must be
 * done is taken out with member_take(). It owns no socket, clock or process, so the simulator
 * (tests/sim) runs the very same code.
 *
 *   FORMING  -> RUNNING   all places taken, or MIN and the last call over
 *   RUNNING  -> STOPPING  a worker or node fails, somebody stops the job, or a bigger round is due
 *   STOPPING -> FORMING   every node stopped; there is to be another round
 *   FORMING  -> ENDED     join timeout, or the job was stopped
 *   RUNNING  -> ENDED     all workers exited 0
 *   STOPPING -> ENDED     every node stopped; there is to be no other round
 *
 * Nodes that join while a round runs: member_grow.c. Who gets which place: rank_assign.h.
 *
 * Every state that waits has a deadline: FORMING the join timeout, RUNNING the node timeout of each
 * node, STOPPING the grace time plus KILL_ALLOWANCE_MS.
 *
 * A node whose connection broke is away until the node timeout after it was last heard of: its
 * workers go on, and if its agent comes back it is resumed (member_session.c). A coordinator that
 * is new takes over the round that the first agent to come back runs. A node that comes back too
 * late, with workers of a round that is no more, has the time of STOPPING to stop them. No round
 * begins while such a node is there, or one is away, or before a node that fell silent must have
 * stopped its workers: MEMBER_FENCE_OF_TIMEOUT.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/cause.h"
#include "muster/ctl_msg.h"
#include "muster/err.h"
#include "muster/job_policy.h"
#include "muster/log.h"
#include "muster/outcome.h"
#include "rendezvous/event_ring.h"
#include "rendezvous/hash_index.h"

#include <stdbool.h>
#include <stdint.h>

struct member;

enum member_state { MEMBER_FORMING, MEMBER_RUNNING, MEMBER_STOPPING, MEMBER_ENDED };

enum member_node_state {
    MEMBER_NODE_JOINED,   /* has no ranks in this round */
    MEMBER_NODE_ASSIGNED, /* was told its ranks */
    MEMBER_NODE_RUNNING,  /* all its workers were executed */
    MEMBER_NODE_STOPPING, /* was told to stop them */
    MEMBER_NODE_STOPPED,  /* has nothing left of this round */
    MEMBER_NODE_GONE,     /* its connection is lost, or it left */
};

struct member_failure;

/*
 * The exit status of a job whose culprit this is: the worker's own; 1 for a node, and for a worker
 * that was stopped before it had one.
 */
int member_failure_status(const struct member_failure *f);

/* "forming", "running", ...: also the words of the status document. */
const char *member_state_name(enum member_state state);
const char *member_node_state_name(enum member_node_state state);

/* What the embedding process decides, the same for all jobs of one coordinator. */
struct member_config {
    uint64_t coordinator_id; /* random; told to every node */
    uint64_t seed;           /* random, and told to nobody */
    uint64_t embedded_agent; /* agent_id of the agent in this process; 0: stand-alone */
    const char *master_addr; /* of WELCOME; borrowed for the life of the engine; NULL: none */
    char *const *expected;   /* borrowed; names of the nodes in the scheduler's order */
    size_t expected_count;   /* 0: nobody knows them */
    int64_t
        unix_offset_ms; /* of events: the time since 1970 is the engine's plus this; 0: not known */
};

enum member_effect_kind {
    MEMBER_SEND,      /* send `msg` to `node` */
    MEMBER_DROP,      /* close the connection of `node` once everything is sent */
    MEMBER_NEW_ROUND, /* a fresh store for round `round`; clients of the old one are closed */
    MEMBER_LOG,       /* `level`, `text` */
    MEMBER_OVER,      /* the job has ended; `text` is the report, `exit_status` its result */
};

struct member_effect {
    enum member_effect_kind kind;
    uint32_t node;
    uint32_t round;
    int exit_status;
    enum mu_log_level level;
    struct ctl_msg msg;
    char *text; /* owned by the engine; strings of `msg` point into it */
};

/* A job that forms with its first member; `run_id` is copied. Owned by the caller. */
struct member *member_new(struct mu_slice run_id, const struct member_config *config);
void member_free(struct member *m);

/*
 * An agent asks to be in. Returns its node number, which is never reused within the job, or -1
 * with the sentence to refuse it with: MU_E_CANCELED if it may try again later (the job has ended,
 * or the place it wants is that of a node that has fallen silent), else MU_E_REFUSED (a duplicate
 * node rank, numbers of nodes that differ, names that cannot be shown). `address` is where it
 * connected from, numeric. An agent that is in already, and comes with the session of that, gets
 * its old number again: the caller lets go of the connection it had before, without a word.
 */
int64_t member_join(struct member *m, const struct ctl_hello *hello, const char *address,
                    int64_t now_ms, struct mu_err *err);

/* A message from a node. Returns -1 with MU_E_PROTOCOL if it makes no sense; drop the node then. */
int member_message(struct member *m, uint32_t node, const struct ctl_msg *msg, int64_t now_ms,
                   struct mu_err *err);

/*
 * The connection to a node is gone; `why` is for people. `is_closed`: its end of it was closed in
 * order, which only the end of its process does; else the network may have lost it, and the agent
 * may come back.
 */
void member_lost(struct member *m, uint32_t node, bool is_closed, const char *why, int64_t now_ms);

/* Somebody was turned away before it became a node; shown while the job forms. */
void member_note_refused(struct member *m, const char *address, const char *why);

/*
 * Places, in the scheduler's order, of nodes that the job waits for: at most `max`, none if it does
 * not wait, or if their names cannot be told.
 */
size_t member_missing(const struct member *m, uint32_t *ret_places, size_t max);
const char *member_missing_name(const struct member *m, uint32_t place);
const char *member_missing_why(const struct member *m, uint32_t place); /* "never seen", ... */

/* What was found out about a place whose node is missing. */
void member_note_missing(struct member *m, uint32_t place, const char *what, int64_t now_ms);

/* The coordinator itself is being stopped: `signo` to every worker, exit status 128 + signo. */
void member_stop(struct member *m, int signo, const char *why, int64_t now_ms);

/* Is the agent that says this a member of the job, or was it one when the job ended? */
bool member_knows(const struct member *m, const struct ctl_hello *hello);

/* Let time pass. To be called at member_deadline(), or at any other moment. */
void member_tick(struct member *m, int64_t now_ms);
int64_t member_deadline(const struct member *m); /* INT64_MAX: nothing to wait for */

/*
 * The next effect, or NULL. Pointers in it are valid until the next call of any function of this
 * engine; carry the effects out in order.
 */
const struct member_effect *member_take(struct member *m);

/* ---- what can be seen (job_view.c, the simulator, tests) ---- */

struct member_worker {
    uint32_t pid; /* 0: not started */
    struct outcome outcome;
    bool was_stopped; /* it ended because it was told to */
};

struct member_node {
    uint32_t id;
    enum member_node_state state;
    int32_t node_rank;     /* place in this round, or RANK_NONE */
    int32_t previous_rank; /* place in the last round, or RANK_NONE */
    int32_t wanted_rank;
    int32_t sched_rank;
    uint32_t first_rank;
    uint32_t role_first_rank;
    uint32_t slots;
    uint32_t pid;
    uint64_t agent_id;          /* 0: of an adopted round, and it has not come back yet */
    struct hash_link of_agent;  /* in member_index.h, while it is live */
    struct hash_link of_wanted; /* the same, with a wanted_rank */
    char *name;                 /* owned */
    char *role;                 /* owned */
    char *address;              /* owned */
    int64_t joined_ms;
    int64_t heard_ms;
    uint32_t busy_round;      /* of which it has workers and no ranks; 0: none */
    int64_t busy_deadline_ms; /* by when they must be gone */
    bool is_away;             /* its connection broke; it may come back */
    char *away_why;           /* owned; NULL while it is not */
    bool is_stuck;            /* not even SIGKILL ends them; no ranks until they are gone */
    bool was_told_waiting;
    bool wants_report;             /* END brings it the report as JSON */
    struct member_worker *workers; /* owned; `slots` of them */
    uint32_t workers_exited;
};

/*
 * The culprit of a round: the first failure of its own doing. One that is a consequence of another
 * (a closed connection) holds the place only until a better one is heard of, which may come later
 * by a few milliseconds, or by a node timeout.
 */
struct member_failure {
    bool is_set;
    bool is_node; /* the node itself is the culprit, not one of its workers */
    uint32_t node;
    uint32_t local_rank;
    uint32_t rank;
    uint32_t pid;
    struct outcome outcome;
    enum cause_kind cause;
    enum cause_blame blame;
    bool was_ending;  /* it had failed already when a stop signal ended its process */
    int64_t unix_ms;  /* when it ended, by its agent's clock; 0: not known */
    char *node_name;  /* owned */
    char *role;       /* owned */
    char *why;        /* owned; of a node's loss, else NULL */
    char *sentence;   /* owned; the cause in words, "" if there is nothing to say */
    char *hint;       /* owned; what to do about it, or "" */
    char *message;    /* owned; of its error file, or what could not be executed */
    char *error_file; /* owned; path on its node, or "" */
    char *log_file;   /* owned; the same */
    char *quote;      /* owned; the lines of its stderr or error file that matter, or "" */
    char *tail;       /* owned; end of its stderr */

    /* What else ended in the same round. */
    uint32_t collateral; /* other failures */
    uint32_t collateral_by[CAUSE_KIND_COUNT];
    uint32_t collateral_own; /* of them, those that this one did not cause */
    uint32_t stopped;        /* workers that ended because they were told to */
};

struct member_view {
    const char *run_id;
    enum member_state state;
    uint32_t round;
    bool is_adopted;        /* that round began under another coordinator */
    uint32_t restarts;      /* that cost one, in all */
    uint32_t restarts_used; /* of them, those that count against max_restarts now */
    uint32_t max_restarts;
    uint32_t min_nodes;
    uint32_t max_nodes;
    uint32_t world_size;
    int exit_status; /* once ENDED */
    int64_t state_since_ms;
    int64_t node_timeout_ms;
    const struct member_failure *failure; /* the last round's culprit; is_set tells */
    const char *no_restart_why;           /* a further reason why there was none, or NULL */
    const struct event_ring *events;
    int64_t unix_offset_ms; /* of the events' times, see struct member_config */
    struct member_node *const *nodes;
    uint32_t node_count;
    const struct member *member; /* for member_missing() */
};

/* A node by its number, or NULL if it is forgotten; borrowed as the view is. */
const struct member_node *member_get_node(const struct member *m, uint32_t id);

/* Borrows from the engine; valid until the next call of any function of it. */
struct member_view member_look(const struct member *m);
