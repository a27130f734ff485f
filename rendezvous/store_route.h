/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which store a c10d client belongs to: that of a job's round, or the shared one.
 *
 * A pure engine. It is told which nodes have a part in which job's round, at which address, with
 * which workers; and of every client that comes from such an address what it says of itself. Its
 * effects say where the client goes, or which agents to ask first. It never guesses about a client
 * that says its pid: one whose place stays unclear is closed, and a c10d client then tries again.
 *
 *     GREETING --its pid--> [a worker's?] --no--> WAITING ----> ASKED ----> decided
 *         |                      | yes           (for STARTED)    |
 *         |  says none           +-----------------------------------------> decided
 *         +-------------------------------------------------------+
 *
 * The rules: docs/ARCHITECTURE.md, "Which store". Threading: the loop thread only.
 */
#pragma once

#include "muster/buf.h"
#include "muster/ctl_msg.h"

#include <stdbool.h>
#include <stdint.h>

struct store_route;
struct store_route_job;
struct store_route_client;

enum {
    STORE_ROUTE_GREETING_MS = 1000, /* after VALIDATE, for the PING: clients before torch 2.5 send
                                       none, and nothing at all until they are used */
    STORE_ROUTE_WAITING_MS = 1000,  /* for STARTED of the nodes, before their agents are asked */
    STORE_ROUTE_ASKED_MS = 30000,   /* for the agents' answers; one that is dead is lost sooner */
    STORE_ROUTE_FORMER_MS = 120000, /* how long the workers of a lost node may outlive its round */
    STORE_ROUTE_MAX_HELD = 8192,    /* clients held at once; */
    STORE_ROUTE_MAX_ASKED = 65536,  /* questions without an answer; */
    STORE_ROUTE_MAX_FORMER = 65536, /* pids of ended rounds that are remembered */
};

enum store_route_effect_kind {
    STORE_ROUTE_ASK,       /* send `whose` to `node` of `job` */
    STORE_ROUTE_TO_JOB,    /* `client` belongs to the round of `job`; `why`: a guess, for the log */
    STORE_ROUTE_TO_SHARED, /* ... to the shared store */
    STORE_ROUTE_CLOSE,     /* it belongs to no store that there is, or that is not clear: `why` */
};

struct store_route_effect {
    enum store_route_effect_kind kind;
    void *job; /* as given to store_route_job_new() */
    uint32_t node;
    struct ctl_whose whose;
    void *client; /* as given to store_route_hold() */
    const char *why;
};

struct store_route *store_route_new(uint64_t seed);
void store_route_free(struct store_route *r); /* every job and client is gone */

/* The next effect, or NULL; valid until the next call of any function of this engine. */
const struct store_route_effect *store_route_take(struct store_route *r);

/* Let time pass. To be called at store_route_deadline(), or at any other moment. */
void store_route_tick(struct store_route *r, int64_t now_ms);
int64_t store_route_deadline(const struct store_route *r); /* INT64_MAX: nothing to wait for */

/* ---- jobs and rounds ---- */

/* Newer jobs win where only a guess is left. Borrows `owner`. */
struct store_route_job *store_route_job_new(struct store_route *r, void *owner);
void store_route_job_free(struct store_route *r, struct store_route_job *job); /* no round runs */

/* `node` has a part in this round, and connects from `address`: any text that is equal for all
 * clients of one machine. Nothing new if it is said again. */
void store_route_place(struct store_route *r, struct store_route_job *job, uint32_t round,
                       uint32_t node, const char *address);
/* Its workers run; `pids` as in the message. Ignored of another round. */
void store_route_started(struct store_route *r, struct store_route_job *job, uint32_t node,
                         const struct ctl_started *started, int64_t now_ms);
void store_route_exited(struct store_route *r, struct store_route_job *job, uint32_t node,
                        const struct ctl_exited *exited);
/* Its agent is gone; what it started may live for a while. */
void store_route_lost(struct store_route *r, struct store_route_job *job, uint32_t node,
                      int64_t now_ms);
void store_route_answered(struct store_route *r, struct store_route_job *job, uint32_t node,
                          const struct ctl_owned *owned);
/* The round is over, with all its places; its store goes after the effects of this. */
void store_route_round_over(struct store_route *r, struct store_route_job *job, int64_t now_ms);

/* ---- clients ---- */

/* Does anything of a job run at that address, or ran lately? If not, a client from there belongs to
 * the shared store. */
bool store_route_is_known(const struct store_route *r, const char *address);

enum store_route_greeting {
    STORE_ROUTE_MORE,    /* VALIDATE has not come whole */
    STORE_ROUTE_SILENT,  /* VALIDATE alone, so far */
    STORE_ROUTE_NAMED,   /* and a PING, with its pid */
    STORE_ROUTE_UNNAMED, /* and something else */
    STORE_ROUTE_INVALID, /* no c10d client that any store would serve */
};

/* What the first bytes of a c10d client tell. */
enum store_route_greeting store_route_read(const uint8_t *data, size_t len, uint32_t *ret_pid);

/*
 * A client whose VALIDATE has come, from a known address. Returns a handle that is valid until an
 * effect decides about the client, or store_route_forget(); NULL: as many as allowed are held
 * already.
 */
struct store_route_client *store_route_hold(struct store_route *r, void *owner, const char *address,
                                            uint16_t port, int64_t now_ms);
/* 0: it sent no PING. Later calls change nothing. Returns whether it is still held. */
bool store_route_named(struct store_route *r, struct store_route_client *c, uint32_t pid,
                       int64_t now_ms);
/* It cannot be held any longer: it sent more than it is worth to keep. Decides about it. */
void store_route_settle(struct store_route *r, struct store_route_client *c);
void store_route_forget(struct store_route *r, struct store_route_client *c); /* it hung up */
uint32_t store_route_held(const struct store_route *r);
