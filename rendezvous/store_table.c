/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_table.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    FIRST_BUCKETS = 64,
    SMALL_VALUE = 24, /* any ADD counter fits without a second allocation */
    SLACK = 4096,     /* unused bytes a value may keep from a longer predecessor */
};

__extension__ typedef unsigned __int128 uint128;

void store_table_init(struct store_table *t)
{
    *t = (struct store_table){.mask = FIRST_BUCKETS - 1};
    t->buckets = mu_calloc(FIRST_BUCKETS, sizeof(struct store_entry *));
    t->unread = store_unread_new();
    /* Peers choose the keys: with a known seed they could choose them all into one bucket. */
    if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) != (ssize_t)sizeof(t->seed)) {
        t->seed = (uintptr_t)t->buckets;
    }
}

static void free_items(struct store_table *t, struct store_item *item)
{
    while (item != NULL) {
        struct store_item *next = item->next;
        store_value_take_out(item->value, t->unread);
        free(item);
        item = next;
    }
}

void store_table_fini(struct store_table *t)
{
    for (size_t i = 0; t->buckets != NULL && i <= t->mask; i++) {
        struct store_entry *e = t->buckets[i];
        while (e != NULL) {
            struct store_entry *next = e->next;
            free_items(t, e->first_item);
            store_value_take_out(e->value, t->unread);
            free(e);
            e = next;
        }
    }
    free(t->buckets);
    store_unread_close(t->unread);
    *t = (struct store_table){0};
}

/* Multiply and fold: every bit of both reaches every bit of the result. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const char *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

uint64_t store_table_hash(const struct store_table *t, struct mu_slice key)
{
    const uint64_t k0 = 0xA0761D6478BD642FULL;
    const uint64_t k1 = 0xE7037ED1A0B428DBULL;
    const char *p = key.ptr;
    size_t n = key.len;
    uint64_t h = t->seed ^ k0;
    for (; n > 16; n -= 16, p += 16) {
        h = mix(load(p, 8) ^ k1, load(p + 8, 8) ^ h);
    }
    uint64_t a = 0;
    uint64_t b = 0;
    if (n >= 8) { /* two words that overlap cover 8 to 16 bytes */
        a = load(p, 8);
        b = load(p + n - 8, 8);
    } else if (n >= 4) {
        a = load(p, 4);
        b = load(p + n - 4, 4);
    } else if (n > 0) {
        a = load(p, 1) | load(p + n / 2, 1) << 8 | load(p + n - 1, 1) << 16;
    }
    return mix(k1 ^ key.len, mix(a ^ k1, b ^ h));
}

struct mu_slice store_entry_key(const struct store_entry *e)
{
    return (struct mu_slice){.ptr = e->key, .len = e->key_len};
}

struct mu_slice store_entry_value(const struct store_entry *e)
{
    return store_value_bytes(e->value);
}

struct store_entry *store_table_find(const struct store_table *t, struct mu_slice key,
                                     uint64_t hash)
{
    struct store_entry *e = t->buckets[hash & t->mask];
    while (e != NULL && (e->hash != hash || !mu_slice_eq(store_entry_key(e), key))) {
        e = e->next;
    }
    return e;
}

static void grow(struct store_table *t)
{
    size_t count = (t->mask + 1) * 2;
    struct store_entry **buckets = mu_calloc(count, sizeof(struct store_entry *));
    for (size_t i = 0; i <= t->mask; i++) {
        struct store_entry *e = t->buckets[i];
        while (e != NULL) {
            struct store_entry *next = e->next;
            struct store_entry **bucket = &buckets[e->hash & (count - 1)];
            e->next = *bucket;
            *bucket = e;
            e = next;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->mask = count - 1;
}

struct store_entry *store_table_add(struct store_table *t, struct mu_slice key, uint64_t hash)
{
    if (t->entries > t->mask) {
        grow(t);
    }
    struct store_entry *e = mu_alloc(sizeof(*e) + key.len);
    e->hash = hash;
    e->key_len = (uint32_t)key.len;
    if (key.len > 0) {
        memcpy(e->key, key.ptr, key.len);
    }
    struct store_entry **bucket = &t->buckets[hash & t->mask];
    e->next = *bucket;
    *bucket = e;
    t->entries++;
    t->bytes += sizeof(*e) + key.len;
    return e;
}

void store_table_drop_unused(struct store_table *t, struct store_entry *e)
{
    if (e->has_value || e->first_item != NULL || e->first_wait != NULL) {
        return;
    }
    struct store_entry **link = &t->buckets[e->hash & t->mask];
    while (*link != e) {
        link = &(*link)->next;
    }
    *link = e->next;
    t->entries--;
    t->bytes -= sizeof(*e) + e->key_len;
    free(e);
}

static void mark_present(struct store_table *t, struct store_entry *e)
{
    if (!e->has_value) {
        e->has_value = true;
        t->keys++;
    }
}

static size_t value_len(const struct store_entry *e)
{
    return e->value != NULL ? e->value->len : 0;
}

/* Replies may still point to the old value: then it is left as it is, for them. */
static void replace(struct store_table *t, struct store_entry *e, struct store_value *fresh)
{
    store_value_take_out(e->value, t->unread);
    e->value = fresh;
}

void store_entry_set(struct store_table *t, struct store_entry *e, struct mu_slice value)
{
    struct store_value *v = e->value;
    t->bytes += value.len - value_len(e);
    if (v == NULL || store_value_is_shared(v) || v->cap < value.len ||
        v->cap > 2 * value.len + SLACK) {
        replace(t, e, store_value_new(value, SMALL_VALUE));
    } else {
        memmove(v->data, value.ptr, value.len);
        v->len = value.len;
    }
    mark_present(t, e);
}

void store_entry_append(struct store_table *t, struct store_entry *e, struct mu_slice value)
{
    struct store_value *v = e->value;
    size_t old_len = value_len(e);
    size_t len = old_len + value.len;
    if (v == NULL || store_value_is_shared(v) || v->cap < len) {
        size_t cap = old_len > 0 ? 2 * len : len;
        v = store_value_new(store_value_bytes(v), cap > SMALL_VALUE ? cap : SMALL_VALUE);
        replace(t, e, v);
    }
    memcpy(v->data + old_len, value.ptr, value.len);
    t->bytes += value.len;
    v->len = len;
    mark_present(t, e);
}

void store_entry_unset(struct store_table *t, struct store_entry *e)
{
    if (e->has_value) {
        t->keys--;
    }
    t->bytes -= value_len(e);
    replace(t, e, NULL);
    e->has_value = false;
}

void store_entry_push(struct store_table *t, struct store_entry *e, struct mu_slice value)
{
    struct store_item *item = mu_alloc(sizeof(*item));
    item->value = store_value_new(value, 0);
    *(e->last_item != NULL ? &e->last_item->next : &e->first_item) = item;
    e->last_item = item;
    e->items++;
    t->bytes += STORE_ITEM_SIZE + value.len;
}

struct store_value *store_entry_pop(struct store_table *t, struct store_entry *e)
{
    struct store_item *item = e->first_item;
    if (item == NULL) {
        return NULL;
    }
    e->first_item = item->next;
    if (e->first_item == NULL) {
        e->last_item = NULL;
    }
    e->items--;
    struct store_value *value = item->value;
    t->bytes -= STORE_ITEM_SIZE + value->len;
    free(item);
    return value;
}
