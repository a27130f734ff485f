/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes take part in a round, and in which order. Pure and deterministic: the same set of
 * candidates gives the same places, in whatever order they arrived.
 *
 * Rules (docs/ELASTIC.md): a survivor keeps its place; who comes back under the name of a lost node
 * gets that node's; an explicit --node-rank comes next; then the scheduler's order; then the
 * natural order of names (node2 before node10), then the pid. Whoever finds no place is a spare.
 * With fewer places than before, those whose place is no more move into the holes, in their order,
 * and nobody else moves.
 */
#pragma once

#include <stdint.h>

enum { RANK_NONE = -1 };

struct rank_candidate {
    int32_t previous;  /* node rank in the round before, or RANK_NONE */
    int32_t wanted;    /* --node-rank, or RANK_NONE */
    int32_t sched;     /* position in the scheduler's node list, or RANK_NONE */
    const char *name;  /* node name; borrowed */
    uint32_t pid;      /* of the agent; tells agents on one host apart */
    uint32_t id;       /* the caller's; last resort, unique */
    int32_t node_rank; /* result: 0 .. places-1, or RANK_NONE for a spare */
    int32_t returned;  /* result: the place its namesake lost, or RANK_NONE */
};

/* A node that had a place in the round before and is gone. */
struct rank_lost {
    const char *name; /* borrowed */
    int32_t place;
};

/*
 * Sets `node_rank` of every candidate; `places` of them (or all, if there are fewer) get one.
 * The order of the arrays is changed: candidates by node rank, spares last. Of several candidates
 * with the name of a lost node one inherits its place, of several lost ones of a name the lowest is
 * inherited first. `lost` may be NULL if there are none.
 */
void rank_assign(struct rank_candidate *candidates, uint32_t count, uint32_t places,
                 struct rank_lost *lost, uint32_t lost_count);
