/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node's place in one round: what the coordinator tells an agent before it starts its workers.
 * O(1) in size, whatever the number of nodes.
 */
#pragma once

#include <stdint.h>

struct assignment {
    uint32_t round;           /* 1, 2, ...: never reused within a job */
    uint32_t restart_count;   /* restarts the job has spent: the same on every node */
    uint32_t node_rank;       /* this node's place, 0 .. node_count-1 (GROUP_RANK) */
    uint32_t node_count;      /* nodes in this round (GROUP_WORLD_SIZE) */
    uint32_t first_rank;      /* global rank of this node's local rank 0 */
    uint32_t world_size;      /* workers of all nodes */
    uint32_t role_first_rank; /* the same two among the nodes of this node's role */
    uint32_t role_world_size;
};
