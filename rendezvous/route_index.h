/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of structs that embed their link. Whoever looks compares: several entries may have
 * one hash, and several one key.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Embedded in its owner. */
struct route_link {
    uint64_t hash;
    LIST_ENTRY(route_link) bucket;
};

struct route_index {
    LIST_HEAD(route_bucket, route_link) * buckets; /* owned */
    size_t mask;
    size_t count;
};

void route_index_init(struct route_index *x);
void route_index_fini(struct route_index *x); /* of an index from which everything was taken */

void route_index_add(struct route_index *x, struct route_link *link, uint64_t hash);
void route_index_take(struct route_index *x, struct route_link *link);

/* The first entry with this hash, the next one; NULL: no more. Taking others is allowed meanwhile.
 */
struct route_link *route_index_first(const struct route_index *x, uint64_t hash);
struct route_link *route_index_next(const struct route_link *link);

/* `value` mixed into `hash`; and a text. */
uint64_t route_hash(uint64_t hash, uint64_t value);
uint64_t route_hash_text(uint64_t hash, const char *text);
