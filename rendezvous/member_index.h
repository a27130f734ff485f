/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live nodes of a job by what an agent says of itself, so that a join costs the same whether
 * ten nodes are in the job or ten thousand. Nodes that are gone are in no index.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "rendezvous/hash_index.h"

struct member;
struct member_node;

struct member_index {
    uint64_t seed;
    struct hash_index agents; /* by agent id */
    struct hash_index wanted; /* by --node-rank, of those that have one */
};

/* `seed`: what peers cannot know, for they choose the numbers that are looked up. */
void member_index_init(struct member_index *x, uint64_t seed);
void member_index_fini(struct member_index *x); /* of an index from which everything was taken */

/* A node is live from now on; and no longer. Its agent id and rank stay as they are meanwhile. */
void member_index_add(struct member_index *x, struct member_node *n);
void member_index_take(struct member_index *x, struct member_node *n);

/*
 * The live node with this agent id, or with this --node-rank; NULL: there is none. Of several, as
 * while an agent takes the place of its former self, the one that was added last.
 */
struct member_node *member_find_agent(const struct member *m, uint64_t agent_id);
struct member_node *member_find_wanted(const struct member *m, int32_t node_rank);
