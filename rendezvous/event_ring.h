/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last decisions about a job, with their reasons, for those who ask later: the status document,
 * the report. Of fixed size: the oldest make room, and are counted. Adding one costs the same
 * whatever happened before. Pure.
 *
 * Threading: any; nothing here is shared.
 */
#pragma once

#include <stdint.h>

/* E(ENUM, name in JSON). Names are an interface and never change. */
#define EVENT_KINDS(E)                                                       \
    E(JOINED, "joined")               /* a node is part of the job */        \
    E(REFUSED, "refused")             /* it is not, and why */               \
    E(LEFT, "left")                   /* a node without ranks is gone */     \
    E(AWAY, "away")                   /* its connection broke */             \
    E(BACK, "back")                   /* it has another, and its place */    \
    E(ADOPTED, "adopted")             /* a round of another coordinator */   \
    E(ROUND, "round")                 /* a round begins */                   \
    E(WORKER_FAILED, "worker_failed") /* what stops the round */             \
    E(NODE_LOST, "node_lost")         /* a node with ranks is gone */        \
    E(BLAME, "blame")                 /* another culprit than thought */     \
    E(STOPPING, "stopping")           /* the round is stopped, and why */    \
    E(STUCK, "stuck")                 /* processes that survive SIGKILL */   \
    E(RESTART, "restart")             /* a further round, which costs one */ \
    E(FREE_RESTART, "free_restart")   /* a further round, which does not */  \
    E(GO_ON, "go_on")                 /* a further round without a node */   \
    E(NO_RESTART, "no_restart")       /* none, and why */                    \
    E(WAITING, "waiting")             /* for nodes, or a replacement */      \
    E(SPARE, "spare")                 /* a node stands by */                 \
    E(REPLACED, "replaced")           /* a spare takes the place of one */   \
    E(SCALE_UP, "scale_up")           /* a round with more nodes */          \
    E(END, "end")                     /* the job is over */

enum event_kind {
#define E(NAME, name) EVENT_##NAME,
    EVENT_KINDS(E)
#undef E
};

struct event {
    int64_t at_ms; /* of the engine's clock */
    uint32_t round;
    enum event_kind kind;
    char *node; /* owned; NULL: of no node in particular */
    char *text; /* owned; one line for people */
};

enum { EVENT_RING_SIZE = 256, EVENT_TEXT_MAX = 512 };

/* Zeroed is empty. */
struct event_ring {
    struct event events[EVENT_RING_SIZE]; /* the one of number n is at n % EVENT_RING_SIZE */
    uint64_t added;                       /* since the beginning */
};

/* Releases what the events own; the ring is empty then. */
void event_ring_fini(struct event_ring *ring);

/* Add one, and drop the oldest if there is no room. Copies both texts, EVENT_TEXT_MAX bytes of them
 * at most; `node` may be NULL. */
void event_ring_add(struct event_ring *ring, int64_t at_ms, uint32_t round, enum event_kind kind,
                    const char *node, const char *text);

/* How many there are, and how many were dropped before the oldest of them. */
uint32_t event_ring_count(const struct event_ring *ring);
uint64_t event_ring_dropped(const struct event_ring *ring);

/* Number `i` of those that are there, the oldest first. Borrowed until the next one is added. */
const struct event *event_ring_at(const struct event_ring *ring, uint32_t i);

/* "joined", "node_lost", ... */
const char *event_kind_name(enum event_kind kind);
