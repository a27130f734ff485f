/* SPDX-License-Identifier: Apache-2.0 */
/*
 * c10d connections: bytes between clients and a store engine.
 *
 * One server is one store and its clients: a job's round has one, plain clients of the port share
 * another. Closing the server closes its clients, so that no key outlives its round.
 *
 * Who does not read what it is sent holds nobody up: nothing here blocks, a large value is in
 * memory once for all its readers, requests of a client with more than MU_STORE_UNREAD_HIGH bytes
 * of replies unread are left in its socket until it has read them, and when values that are not
 * stored any more but unread make up more than a quarter of the store's limit, those go who have
 * not read for longest.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/uv_conn.h"
#include "rendezvous/store.h"

struct uv_store_server;

/* What happened on the port, over all its stores and rounds; for status. */
struct uv_store_counters {
    uint64_t clients;       /* c10d connections that came to a store */
    uint64_t broken;        /* closed for breaking the protocol */
    uint64_t over_limit;    /* closed for going beyond a limit */
    uint64_t paused;        /* times one was not read from until it had read its replies */
    uint64_t slow_dropped;  /* closed for what they kept in memory by not reading */
    uint64_t delayed_turns; /* times that replies were left for the next turn of the loop */
};

/*
 * An empty store that holds at most `max_bytes` of keys and values. Owned by the caller; `counters`
 * is borrowed and must outlive it.
 */
struct uv_store_server *uv_store_server_new(uv_loop_t *loop, uint64_t max_bytes,
                                            struct uv_store_counters *counters);

/* Closes every client and frees the store. NULL is allowed. */
void uv_store_server_free(struct uv_store_server *s);

/*
 * Take over a connection whose first bytes, `data`, have been read already. The server owns it
 * from here on.
 */
void uv_store_server_adopt(struct uv_store_server *s, struct uv_conn *conn, const uint8_t *data,
                           size_t len);

struct store_stats uv_store_server_stats(const struct uv_store_server *s);
