/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/member_index.h"

#include "muster/mem.h"
#include "rendezvous/member_impl.h"
#include "rendezvous/rank_assign.h"

void member_index_init(struct member_index *x, uint64_t seed)
{
    x->seed = seed;
    hash_index_init(&x->agents);
    hash_index_init(&x->wanted);
}

void member_index_fini(struct member_index *x)
{
    hash_index_fini(&x->agents);
    hash_index_fini(&x->wanted);
}

static uint64_t wanted_hash(const struct member_index *x, int32_t node_rank)
{
    return hash_mix(x->seed, (uint32_t)node_rank);
}

void member_index_add(struct member_index *x, struct member_node *n)
{
    if (n->agent_id != 0) { /* else of an adopted round, and not back yet */
        hash_index_add(&x->agents, &n->of_agent, hash_mix(x->seed, n->agent_id));
    }
    if (n->wanted_rank != RANK_NONE) {
        hash_index_add(&x->wanted, &n->of_wanted, wanted_hash(x, n->wanted_rank));
    }
}

void member_index_take(struct member_index *x, struct member_node *n)
{
    if (n->agent_id != 0) {
        hash_index_take(&x->agents, &n->of_agent);
    }
    if (n->wanted_rank != RANK_NONE) {
        hash_index_take(&x->wanted, &n->of_wanted);
    }
}

struct member_node *member_find_agent(const struct member *m, uint64_t agent_id)
{
    const struct member_index *x = &m->index;
    struct hash_link *link = hash_index_first(&x->agents, hash_mix(x->seed, agent_id));
    for (; link != NULL; link = hash_index_next(link)) {
        struct member_node *n = mu_container_of(link, struct member_node, of_agent);
        if (n->agent_id == agent_id) {
            return n;
        }
    }
    return NULL;
}

struct member_node *member_find_wanted(const struct member *m, int32_t node_rank)
{
    const struct member_index *x = &m->index;
    struct hash_link *link = hash_index_first(&x->wanted, wanted_hash(x, node_rank));
    for (; link != NULL; link = hash_index_next(link)) {
        struct member_node *n = mu_container_of(link, struct member_node, of_wanted);
        if (n->wanted_rank == node_rank) {
            return n;
        }
    }
    return NULL;
}
