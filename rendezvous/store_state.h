/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store share: its body, and how a client is answered.
 *
 * store.c keeps the clients, store_wait.c who waits for what, store_query.c executes requests,
 * store_table.c holds keys, values and queues. Threading: the loop thread only.
 */
#pragma once

#include "rendezvous/store.h"
#include "rendezvous/store_table.h"

struct store {
    struct store_table table;
    uint64_t max_bytes;
    uint64_t wait_bytes;    /* of all registrations */
    uint64_t partial_bytes; /* of all clients: requests whose end is not here yet */
    uint64_t waiting;
    uint64_t clients;
    uint64_t queries;
    struct store_client *first_client;
    struct store_client *first_ready;
    struct store_client *last_ready;
};

/* Append a reply to the client's `out` and put it on the ready list. */
void store_reply_u8(struct store_client *c, uint8_t v);
void store_reply_u32(struct store_client *c, uint32_t v);
void store_reply_i64(struct store_client *c, int64_t v);

/* The same for u64 length and bytes; MU_E_LIMIT if the client would have too much unread. */
int store_reply_str(struct store_client *c, struct mu_slice s, struct mu_err *err);

/* The same for a stored value, which a large one is referred to, not copied; NULL is empty. */
int store_reply_value(struct store_client *c, struct store_value *v, struct mu_err *err);

/* Is there room for `size` bytes of reply? A few bytes of request can ask for megabytes. */
int store_reply_room(const struct store_client *c, size_t size, struct mu_err *err);

/* Fails with MU_E_LIMIT if the store may not grow by `size` bytes. */
int store_charge(const struct store *s, size_t size, struct mu_err *err);
