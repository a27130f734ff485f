/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/hash_index.h"

#include "muster/mem.h"

enum { FIRST_SIZE = 64 };

void hash_index_init(struct hash_index *x)
{
    *x = (struct hash_index){.mask = FIRST_SIZE - 1};
    x->buckets = mu_calloc(FIRST_SIZE, sizeof(x->buckets[0]));
}

void hash_index_fini(struct hash_index *x)
{
    MU_REQUIRE(x->count == 0);
    free(x->buckets);
}

static void grow(struct hash_index *x)
{
    struct hash_index larger = {.mask = 2 * x->mask + 1, .count = x->count};
    larger.buckets = mu_calloc(larger.mask + 1, sizeof(larger.buckets[0]));
    for (size_t i = 0; i <= x->mask; i++) {
        struct hash_link *link;
        while ((link = LIST_FIRST(&x->buckets[i])) != NULL) {
            LIST_REMOVE(link, bucket);
            LIST_INSERT_HEAD(&larger.buckets[link->hash & larger.mask], link, bucket);
        }
    }
    free(x->buckets);
    *x = larger;
}

void hash_index_add(struct hash_index *x, struct hash_link *link, uint64_t hash)
{
    if (x->count > x->mask) {
        grow(x);
    }
    link->hash = hash;
    LIST_INSERT_HEAD(&x->buckets[hash & x->mask], link, bucket);
    x->count++;
}

void hash_index_take(struct hash_index *x, struct hash_link *link)
{
    LIST_REMOVE(link, bucket);
    x->count--;
}

static struct hash_link *same_hash(struct hash_link *link, uint64_t hash)
{
    while (link != NULL && link->hash != hash) {
        link = LIST_NEXT(link, bucket);
    }
    return link;
}

struct hash_link *hash_index_first(const struct hash_index *x, uint64_t hash)
{
    return same_hash(LIST_FIRST(&x->buckets[hash & x->mask]), hash);
}

struct hash_link *hash_index_next(const struct hash_link *link)
{
    return same_hash(LIST_NEXT(link, bucket), link->hash);
}

struct hash_link *hash_index_any(const struct hash_index *x, size_t *at)
{
    while (*at <= x->mask && LIST_EMPTY(&x->buckets[*at])) {
        (*at)++;
    }
    return *at <= x->mask ? LIST_FIRST(&x->buckets[*at]) : NULL;
}

uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    /* The finisher of splitmix64. */
    uint64_t h = (hash ^ value) + UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

uint64_t hash_mix_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++) {
        hash = hash_mix(hash, (unsigned char)*text);
    }
    return hash;
}
