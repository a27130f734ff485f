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
struct hash_link {
    uint64_t hash;
    LIST_ENTRY(hash_link) bucket;
};

struct hash_index {
    LIST_HEAD(hash_bucket, hash_link) * buckets; /* owned */
    size_t mask;
    size_t count;
};

void hash_index_init(struct hash_index *x);
void hash_index_fini(struct hash_index *x); /* of an index from which everything was taken */

void hash_index_add(struct hash_index *x, struct hash_link *link, uint64_t hash);
void hash_index_take(struct hash_index *x, struct hash_link *link);

/* The first entry with this hash, the next one; NULL: no more. Taking others is allowed meanwhile.
 */
struct hash_link *hash_index_first(const struct hash_index *x, uint64_t hash);
struct hash_link *hash_index_next(const struct hash_link *link);

/* One of the entries, for taking out all of them; NULL: there is none. `at` is 0 at first. */
struct hash_link *hash_index_any(const struct hash_index *x, size_t *at);

/* `value` mixed into `hash`; and a text. */
uint64_t hash_mix(uint64_t hash, uint64_t value);
uint64_t hash_mix_text(uint64_t hash, const char *text);
