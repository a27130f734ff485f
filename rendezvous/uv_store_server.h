/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c10d connections: bytes between clients and a store engine.
 *
 * One server is one store and its clients: a job's round has one, plain clients of the port share
 * another. Closing the server closes its clients, so that no key outlives its round.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/uv_conn.h"
#include "rendezvous/store.h"

struct uv_store_server;

/* An empty store that holds at most `max_bytes` of keys and values. Owned by the caller. */
struct uv_store_server *uv_store_server_new(uint64_t max_bytes);

/* Closes every client and frees the store. NULL is allowed. */
void uv_store_server_free(struct uv_store_server *s);

/*
 * Take over a connection whose first bytes, `data`, have been read already. The server owns it
 * from here on.
 */
void uv_store_server_adopt(struct uv_store_server *s, struct uv_conn *conn, const uint8_t *data,
                           size_t len);

struct store_stats uv_store_server_stats(const struct uv_store_server *s);
