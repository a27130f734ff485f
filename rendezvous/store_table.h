/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's names: a hash table of entries, each a value, a queue and those who wait for either.
 *
 * Keys and queues are two name spaces with one table: an entry is there while it has a value, a
 * queued item or a waiter, and `has_value` tells whether the key exists.
 *
 * Private to the store. Threading: the loop thread only.
 */
#pragma once

#include "rendezvous/store_value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_wait;

struct store_item {
    struct store_item *next;
    struct store_value *value; /* owned reference */
};

/* What a queued value costs beside its bytes. */
enum { STORE_ITEM_SIZE = sizeof(struct store_item) + sizeof(struct store_value) };

struct store_entry {
    struct store_entry *next; /* in the bucket */
    uint64_t hash;
    struct store_value *value;     /* owned reference; NULL unless has_value */
    struct store_item *first_item; /* owned queue, oldest first */
    struct store_item *last_item;
    uint64_t items;
    struct store_wait *first_wait; /* borrowed registrations, oldest first */
    struct store_wait *last_wait;
    uint32_t key_len;
    bool has_value;
    char key[];
};

struct store_table {
    struct store_entry **buckets; /* owned */
    size_t mask;                  /* buckets - 1, a power of two */
    size_t entries;
    uint64_t keys;  /* entries with a value */
    uint64_t bytes; /* held: entries, values, items, with their records */
    uint64_t seed;
    struct store_unread *unread; /* owned; values that only replies hold */
};

void store_table_init(struct store_table *t);

/* Frees every entry; waiters must be gone. */
void store_table_fini(struct store_table *t);

uint64_t store_table_hash(const struct store_table *t, struct mu_slice key);

/* The entry of `key`, or NULL. `hash` is store_table_hash() of it. */
struct store_entry *store_table_find(const struct store_table *t, struct mu_slice key,
                                     uint64_t hash);

/* A new entry without anything; `key` must not be in the table. It is copied. */
struct store_entry *store_table_add(struct store_table *t, struct mu_slice key, uint64_t hash);

/* Removes and frees `e` if it has neither value nor items nor waiters. */
void store_table_drop_unused(struct store_table *t, struct store_entry *e);

/* Give the entry a value, or a longer one; the bytes are copied and may be part of the old value.
 */
void store_entry_set(struct store_table *t, struct store_entry *e, struct mu_slice value);
void store_entry_append(struct store_table *t, struct store_entry *e, struct mu_slice value);

/* Takes the value away; the entry stays. */
void store_entry_unset(struct store_table *t, struct store_entry *e);

void store_entry_push(struct store_table *t, struct store_entry *e, struct mu_slice value);

/* The oldest item's value, its reference now the caller's; NULL if the queue is empty. */
struct store_value *store_entry_pop(struct store_table *t, struct store_entry *e);

struct mu_slice store_entry_key(const struct store_entry *e);
struct mu_slice store_entry_value(const struct store_entry *e);
