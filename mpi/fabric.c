/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/fabric.h"

#include "muster/mem.h"

#include <stdlib.h>

#define MAX_LATENCY_RATIO   3.0
#define MIN_LATENCY_LOSS_S  20e-6 /* a busy CPU costs as much now and then */
#define MIN_BANDWIDTH_RATIO 0.5

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double latency_of(const struct fabric_pair *pair)
{
    return pair->latency_s;
}

static double slowness_of(const struct fabric_pair *pair)
{
    return -pair->bandwidth;
}

/* The value, less being better, that a quarter of the pairs has or beats. */
static double good_value(const struct fabric *f, double (*value_of)(const struct fabric_pair *))
{
    mu_autofree double *values = mu_calloc(f->pair_count, sizeof(*values));
    for (size_t i = 0; i < f->pair_count; i++) {
        values[i] = value_of(&f->pairs[i]);
    }
    qsort(values, f->pair_count, sizeof(*values), compare);
    return values[(f->pair_count - 1) / 4];
}

/* A node all of whose pairs are slow, if that is more than one. */
static void judge_nodes(struct fabric *f)
{
    mu_autofree int *met = mu_calloc((size_t)f->nodes, sizeof(*met));
    mu_autofree int *slow = mu_calloc((size_t)f->nodes, sizeof(*slow));
    f->slow_pairs = 0;
    for (size_t i = 0; i < f->pair_count; i++) {
        const struct fabric_pair *pair = &f->pairs[i];
        int is_slow = fabric_is_slow(pair);
        f->slow_pairs += (size_t)is_slow;
        met[pair->a]++;
        met[pair->b]++;
        slow[pair->a] += is_slow;
        slow[pair->b] += is_slow;
    }
    f->slow_nodes = 0;
    for (int i = 0; i < f->nodes; i++) {
        f->is_slow_node[i] = met[i] >= 2 && slow[i] == met[i];
        f->slow_nodes += f->is_slow_node[i];
    }
}

void fabric_judge(struct fabric *f)
{
    MU_REQUIRE(f->nodes > 0);
    if (f->pair_count > 0) {
        f->good_latency_s = good_value(f, latency_of);
        f->good_bandwidth = -good_value(f, slowness_of);
    }
    for (size_t i = 0; i < f->pair_count; i++) {
        struct fabric_pair *pair = &f->pairs[i];
        pair->is_latency_slow = pair->latency_s > f->good_latency_s * MAX_LATENCY_RATIO &&
                                pair->latency_s > f->good_latency_s + MIN_LATENCY_LOSS_S;
        pair->is_bandwidth_slow = pair->bandwidth < f->good_bandwidth * MIN_BANDWIDTH_RATIO;
    }
    judge_nodes(f);
}
