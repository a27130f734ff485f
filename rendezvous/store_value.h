/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value, held by the entry or queue it is stored in and by every reply that still has to be sent:
 * a value that thousands read is in memory once.
 *
 * What only replies hold any more, since the store has another value there or none, is counted as
 * `unread`: it is memory that slow readers cost.
 *
 * Private to the store. Threading: the loop thread only.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The unread values of one store. Lives until the last of them is gone, the store maybe before. */
struct store_unread {
    uint64_t bytes;
    uint64_t values;
    bool is_closed; /* the store is gone */
};

struct store_value {
    struct store_unread *unread; /* borrowed; NULL while it is stored */
    size_t len;
    size_t cap;
    uint32_t refs;
    char data[];
};

/* A copy of `bytes`, with room for `cap` bytes at least; the caller's reference. */
struct store_value *store_value_new(struct mu_slice bytes, size_t cap);

/* Another reference. */
struct store_value *store_value_ref(struct store_value *v);

/* Gives a reference back; the last one frees. NULL is allowed. */
void store_value_unref(struct store_value *v);

/* Does somebody else hold it, beside the caller? */
bool store_value_is_shared(const struct store_value *v);

/* Gives back the reference by which it was stored: what others hold is unread now. NULL is allowed.
 */
void store_value_take_out(struct store_value *v, struct store_unread *unread);

struct store_unread *store_unread_new(void);

/* The store is gone; frees itself now, or with the last value. */
void store_unread_close(struct store_unread *u);

struct mu_slice store_value_bytes(const struct store_value *v); /* NULL is empty */
