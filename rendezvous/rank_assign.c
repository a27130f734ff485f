/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/rank_assign.h"

#include "muster/mem.h"
#include "muster/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* RANK_NONE sorts after every rank. */
static int compare_rank(int32_t a, int32_t b)
{
    return compare_i64(a == RANK_NONE ? INT64_MAX : a, b == RANK_NONE ? INT64_MAX : b);
}

/* The order in which candidates choose a place. */
static int by_claim(const void *pa, const void *pb)
{
    const struct rank_candidate *a = pa;
    const struct rank_candidate *b = pb;
    int d = compare_rank(a->previous, b->previous);
    d = d != 0 ? d : compare_rank(a->returned, b->returned);
    d = d != 0 ? d : compare_rank(a->wanted, b->wanted);
    d = d != 0 ? d : compare_rank(a->sched, b->sched);
    d = d != 0 ? d : mu_names_natural_compare(a->name, b->name);
    d = d != 0 ? d : compare_i64(a->pid, b->pid);
    return d != 0 ? d : compare_i64(a->id, b->id);
}

static int by_node_rank(const void *pa, const void *pb)
{
    const struct rank_candidate *a = pa;
    const struct rank_candidate *b = pb;
    int d = compare_rank(a->node_rank, b->node_rank);
    return d != 0 ? d : by_claim(a, b);
}

static int by_name_and_place(const void *pa, const void *pb)
{
    const struct rank_lost *a = pa;
    const struct rank_lost *b = pb;
    int d = strcmp(a->name, b->name);
    return d != 0 ? d : compare_rank(a->place, b->place);
}

/* The first of this name, or where it would be. */
static uint32_t find_name(const struct rank_lost *lost, uint32_t count, const char *name)
{
    uint32_t low = 0;
    while (low < count) {
        uint32_t mid = low + (count - low) / 2;
        if (strcmp(lost[mid].name, name) < 0) {
            low = mid + 1;
        } else {
            count = mid;
        }
    }
    return low;
}

/* Newcomers under the names of lost nodes, in the order in which they would choose otherwise. */
static void inherit(struct rank_candidate *candidates, uint32_t count, struct rank_lost *lost,
                    uint32_t lost_count)
{
    if (lost_count == 0) {
        return;
    }
    qsort(lost, lost_count, sizeof(lost[0]), by_name_and_place);
    mu_autofree bool *is_inherited = mu_calloc(lost_count, sizeof(bool));
    for (uint32_t i = 0; i < count; i++) {
        struct rank_candidate *c = &candidates[i];
        uint32_t at = find_name(lost, lost_count, c->name);
        while (at < lost_count && is_inherited[at]) {
            at++;
        }
        if (c->previous == RANK_NONE && at < lost_count && strcmp(lost[at].name, c->name) == 0) {
            is_inherited[at] = true;
            c->returned = lost[at].place;
        }
    }
    qsort(candidates, count, sizeof(candidates[0]), by_claim);
}

static bool take(bool *is_taken, uint32_t places, int32_t rank)
{
    if (rank < 0 || (uint32_t)rank >= places || is_taken[rank]) {
        return false;
    }
    is_taken[rank] = true;
    return true;
}

void rank_assign(struct rank_candidate *candidates, uint32_t count, uint32_t places,
                 struct rank_lost *lost, uint32_t lost_count)
{
    places = count < places ? count : places;
    for (uint32_t i = 0; i < count; i++) {
        candidates[i].returned = RANK_NONE;
    }
    qsort(candidates, count, sizeof(candidates[0]), by_claim);
    inherit(candidates, count, lost, lost_count);
    mu_autofree bool *is_taken = mu_calloc(places, sizeof(bool));

    for (uint32_t i = 0; i < count; i++) {
        struct rank_candidate *c = &candidates[i];
        c->node_rank = take(is_taken, places, c->previous) ? c->previous : RANK_NONE;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct rank_candidate *c = &candidates[i];
        if (c->node_rank == RANK_NONE && take(is_taken, places, c->returned)) {
            c->node_rank = c->returned;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct rank_candidate *c = &candidates[i];
        if (c->node_rank == RANK_NONE && take(is_taken, places, c->wanted)) {
            c->node_rank = c->wanted;
        }
    }
    uint32_t hole = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct rank_candidate *c = &candidates[i];
        while (hole < places && is_taken[hole]) {
            hole++;
        }
        if (c->node_rank == RANK_NONE && hole < places) {
            is_taken[hole] = true;
            c->node_rank = (int32_t)hole;
        }
    }
    qsort(candidates, count, sizeof(candidates[0]), by_node_rank);
}
