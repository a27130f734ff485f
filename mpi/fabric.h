/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network between the nodes as it was measured, and what is slow in it. Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/limits.h"

#include <stdbool.h>
#include <stddef.h>

struct fabric_pair {
    int a; /* indices of nodes, a < b */
    int b;
    int turn;         /* of the tournament, in which they met */
    double latency_s; /* of a small message, one way */
    double bandwidth; /* bytes a second, one way */
    bool is_latency_slow;
    bool is_bandwidth_slow;
};

struct fabric_reduce {
    size_t bytes; /* of each node's part; 0: was not measured */
    double seconds;
};

enum { FABRIC_REDUCES = 2 };

struct fabric {
    const char (*names)[MU_MAX_NAME + 1]; /* borrowed, of `nodes` nodes */
    int nodes;
    struct fabric_pair *pairs; /* borrowed: those that were measured */
    size_t pair_count;
    struct fabric_reduce reduces[FABRIC_REDUCES];
    double seconds; /* that it took */

    /* By fabric_judge(): */
    double good_latency_s;
    double good_bandwidth;
    bool *is_slow_node; /* borrowed, of `nodes` nodes */
    int slow_nodes;
    size_t slow_pairs; /* those of slow nodes too */
};

/*
 * Decide what is slow. A good value is one that a quarter of the pairs reaches: unlike the median
 * it is still that of a healthy pair where one of three nodes is slow, which spoils two of three
 * pairs. A pair is slow if its latency is 3 times that and 20 us more, or its bandwidth less than
 * half. A node is slow if all of its pairs are, and it has two at least.
 */
void fabric_judge(struct fabric *f);

static inline bool fabric_is_slow(const struct fabric_pair *pair)
{
    return pair->is_latency_slow || pair->is_bandwidth_slow;
}

/* For people: matrices of up to 16 nodes, a summary of more, and what is slow. */
void fabric_show(const struct fabric *f, struct mu_buf *out);

/* The same for programs, one line. */
void fabric_show_json(const struct fabric *f, struct mu_buf *out);
