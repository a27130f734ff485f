/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rungs on which the coordinator may be found: a few places (hosts) times a few ports. Nobody
 * was told which: the agent on the first node serves on the first port that is free there, and the
 * others look for it.
 *
 * They go in turns. A turn asks one rung after the other and ends, without a WELCOME, with a pause
 * that is the caller's business. Rungs are asked by place, then by port:
 *   - A stranger's port (another job's coordinator, another program): the next port.
 *   - A port where nobody listens: the coordinator, which takes the first free one, is not there
 *     yet. The turn is over; what comes after is not asked.
 *   - A place that cannot be reached, or whose name does not resolve: its other ports are skipped.
 *   - Whatever cost time the last time (a stranger that says nothing, a place that does not answer)
 *     comes last.
 * Now and then a turn is a full one, which asks everything: should a stranger have left a rung
 * below the coordinator's, a free port proves nothing.
 *
 * What it costs: while there is no coordinator, an agent sends one SYN per turn, which is one a
 * second after the first few, and LADDER_PLACES * LADDER_PORTS per full turn, of which there is one
 * after 2, 6, 14, 30, ... and then every 16 s. 10,000 agents that wait for their first node
 * send 10,000 SYN/s, and for two places of eight ports as many again in full turns.
 *
 * A pure engine: time comes in, nothing is called. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LADDER_PLACES = 8, LADDER_PORTS = 8 };

/* What became of the attempt to find the coordinator on a rung. */
enum ladder_answer {
    LADDER_UNTRIED,
    LADDER_UNRESOLVED, /* the place's name has no address */
    LADDER_DEAD,       /* its machine does not answer, or there is no way to it */
    LADDER_FREE,       /* its machine answers that nobody listens */
    LADDER_STRANGER,   /* another job's, or another program's */
    LADDER_SILENT,     /* somebody who accepts and says nothing */
    LADDER_LATER,      /* our coordinator, or one that is about to leave: ask this one again */
};

struct ladder_rung {
    size_t place;
    size_t port;
};

struct ladder {
    size_t place_count;
    size_t port_count;
    const char *places[LADDER_PLACES]; /* borrowed */
    uint16_t ports[LADDER_PORTS];
    enum ladder_answer answers[LADDER_PLACES][LADDER_PORTS]; /* the last ones */
    char whys[LADDER_PLACES][192]; /* what was found at each place last, in words */
    char addresses[LADDER_PLACES][96];
    bool is_asked[LADDER_PLACES][LADDER_PORTS]; /* in this turn */
    bool is_skipped[LADDER_PLACES];             /* for the rest of this turn */
    bool is_here[LADDER_PLACES];                /* an address of this machine */
    bool is_full;                               /* this turn asks everything */
    bool is_over;                               /* this turn */
    int64_t next_full_ms;
    int64_t full_every_ms;
    bool is_fixed; /* only `fixed` is asked: the coordinator is there */
    struct ladder_rung fixed;
};

/* `places` are borrowed. Beyond LADDER_PLACES and LADDER_PORTS they are left out. */
void ladder_init(struct ladder *l, const char *const *places, size_t place_count,
                 const uint16_t *ports, size_t port_count);

/* A new turn. */
void ladder_begin(struct ladder *l, int64_t now_ms);

/* The rung to ask now; false: the turn is over. */
bool ladder_next(const struct ladder *l, struct ladder_rung *ret_rung);

/* What became of asking it; `why` in words, for people. */
void ladder_answer(struct ladder *l, struct ladder_rung rung, enum ladder_answer answer,
                   const char *why);

/*
 * The place has these addresses, for people. If it `is_here`, on this machine, asking costs
 * nothing, so that a free port ends no turn.
 */
void ladder_resolved(struct ladder *l, size_t place, const char *addresses, bool is_here);

/* From now on there is only this one: the coordinator is there. */
void ladder_fix(struct ladder *l, struct ladder_rung rung);

/* Which ports of a place are known to be strangers': a bit each. */
uint32_t ladder_strangers(const struct ladder *l, size_t place);

/* How long an answer to HELLO is worth waiting for: the second time longer. */
int64_t ladder_patience_ms(const struct ladder *l, struct ladder_rung rung);

/*
 * "node1 (10.0.0.1): nothing listens on port 23012, another job or program on port 23001 (...);
 * login: the name 'login' does not resolve"
 */
void ladder_describe(const struct ladder *l, struct mu_buf *out);
