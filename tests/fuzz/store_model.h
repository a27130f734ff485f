/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as docs/PROTOCOL-c10d.md describes it, written to be read and not to be fast: one list
 * of everything held, searched from its beginning. It shares no code with the store.
 *
 * What a record costs is the store's own business; that costs are charged and given back, and that
 * the store refuses exactly what would go beyond its limit, is checked. So the costs are given.
 *
 * Threading: one thread.
 */
#pragma once

#include "muster/buf.h"
#include "rendezvous/store.h"

#include <stdbool.h>

enum { STORE_MODEL_CLIENTS = 6 };

/* Bytes charged beside those of keys and values. */
struct store_model_costs {
    uint64_t name;   /* of a key that has a value, a queue or waiters */
    uint64_t item;   /* of a queued value */
    uint64_t wait;   /* of one key of a pending WAIT, or of a BARRIER */
    uint64_t unread; /* of a large value that only replies refer to */
};

struct store_model;

/* An empty store without clients. `max_bytes`: as store_new() has it. */
struct store_model *store_model_new(uint64_t max_bytes, struct store_model_costs costs);
void store_model_free(struct store_model *m);

/* Clients are numbers below STORE_MODEL_CLIENTS. */
void store_model_open(struct store_model *m, size_t client);
void store_model_close(struct store_model *m, size_t client);

/* The client sends something. False: its connection must be closed. */
bool store_model_feed(struct store_model *m, size_t client, const void *data, size_t len);

/* Is `sent` what the client is to be sent, since the last store_model_take()? */
bool store_model_matches(const struct store_model *m, size_t client, struct mu_slice sent);

/* These replies are on their way now, whatever becomes of the client; then they have been sent. */
void store_model_take(struct store_model *m, size_t client);
void store_model_sent(struct store_model *m, size_t client);

uint32_t store_model_pid(const struct store_model *m, size_t client);
struct store_stats store_model_stats(const struct store_model *m);

/* Some key that has a value (or a queue, then `ret_is_queue`); false: nothing is held. */
bool store_model_any(const struct store_model *m, struct mu_slice *ret_key, bool *ret_is_queue);
