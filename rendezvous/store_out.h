/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies of one client that have to be sent: bytes, and between them large values, which are not
 * copied but referred to.
 *
 * Zero-initialised is empty and valid; it can be moved by assignment. Threading: the loop thread
 * only.
 */
#pragma once

#include "rendezvous/store_value.h"

/* Values from this size on are referred to: below it, copying is cheaper than keeping track. */
enum { STORE_SHARE_FROM = 1024 };

struct store_piece {
    size_t at;                 /* the value belongs before bytes.data[at] */
    struct store_value *value; /* owned reference */
};

struct store_out {
    struct mu_buf bytes;        /* owned */
    struct store_piece *pieces; /* owned, in order */
    uint32_t piece_count;
    uint32_t piece_cap;
    size_t shared_len; /* of all pieces */
};

/* Release everything; empty then. */
void store_out_fini(struct store_out *o);

/*
 * The same, but a small buffer goes to `spare` (or is freed, if that has one): one that is hot
 * serves thousands of clients, and those that are idle have none.
 */
void store_out_clear(struct store_out *o, struct mu_buf *spare);

/* u64 length and bytes of the value, which may be NULL (empty). Takes a reference of its own. */
void store_out_put_value(struct store_out *o, struct store_value *v);

/* Bytes to be sent. */
size_t store_out_len(const struct store_out *o);

/* Bytes of memory that only this client's replies take. */
size_t store_out_own(const struct store_out *o);

/* How many slices store_out_slices() gives. */
size_t store_out_count(const struct store_out *o);

/* What is to be sent, in order, without its first `skip` bytes; the number of slices written. */
size_t store_out_slices(const struct store_out *o, size_t skip, struct mu_slice *slices);
