/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key-value store behind PyTorch's TCPStore clients: keys, counters, queues, waiters.
 *
 * An engine: bytes of a connection in, bytes for connections out; no sockets, no clock. The
 * server (uv_store_server.c) feeds what a client sent with store_client_feed() and then writes
 * the `out` buffers of every client that store_take_ready() names, which may be others than the
 * one that was fed: a SET releases waiters.
 *
 * Semantics: docs/PROTOCOL-c10d.md, dialect C (torch 2.2 to 2.13).
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store_out.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct store_entry; /* private to the store, as what is in these: */

/* One registration of a client with a key. */
struct store_wait {
    struct store_client *client; /* borrowed; its owner */
    struct store_entry *entry;   /* borrowed; NULL once satisfied */
    struct store_wait *next;     /* among the entry's */
    struct store_wait *prev;
};

/* A connection as the store sees it; embedded in the server's own struct, which must not move. */
struct store_client {
    struct store_out out;  /* owned; replies to be written, consumed by the server */
    struct mu_buf partial; /* owned; the beginning of a request whose end is not here yet */
    struct c10d_scan scan; /* how far `partial` has been decoded */
    struct store *store;   /* borrowed; NULL once detached */
    bool is_validated;     /* the VALIDATE query was seen */
    bool is_ready;         /* is on the store's ready list */
    bool is_broken;        /* an error was returned: nothing it sends counts any more */
    uint32_t pid;          /* nonce of the last PING, which is the client's pid; 0: none yet */
    struct store_client *ready_next;
    struct store_client *ready_prev;
    struct store_wait *waits;   /* owned registrations of the pending WAIT or BARRIER */
    uint32_t waits_count;       /* of them, satisfied ones included */
    uint32_t waits_left;        /* keys the pending WAIT still lacks; 0: none pending */
    struct store_wait one_wait; /* which is where `waits` are if it is one */
    struct store_client *next;  /* among the attached ones */
    struct store_client *prev;
};

struct store_stats {
    uint64_t keys;    /* keys present, queues not counted */
    uint64_t bytes;   /* held for keys, values, queued items and registrations, records included */
    uint64_t unread;  /* of values that are not stored any more, but not sent to all who asked */
    uint64_t partial; /* of requests whose end is not here yet */
    uint64_t waiting; /* clients with a pending WAIT or BARRIER */
    uint64_t clients; /* attached clients */
    uint64_t queries; /* executed since the store was made */
};

/*
 * An empty store; `max_bytes` bounds the sum of store_stats.bytes and .unread, and by itself what
 * all clients have sent of unfinished requests (0: no bound). Owned by the caller.
 */
struct store *store_new(uint64_t max_bytes);

/* Frees the store; every client still attached is detached first (its `store` becomes NULL). */
void store_free(struct store *s);

struct store_stats store_get_stats(const struct store *s);

/* `c` is zeroed and attached. It must be detached with store_client_fini() before its memory goes.
 */
void store_client_init(struct store_client *c, struct store *s);

/*
 * Drops the client's registrations, takes it off the ready list, releases its buffers. To be called
 * also for a client whose store is gone; harmless for one that is zeroed.
 */
void store_client_fini(struct store_client *c);

/*
 * Execute what `c` sent, in any fragmentation. Requests are applied only when complete. Returns 0,
 * or -1 with MU_E_PROTOCOL or MU_E_LIMIT: the connection must then be closed (replies that are
 * already in `out` may be written first), and any later call fails the same way. A client whose
 * store is gone always gets -1, with MU_E_LOST.
 */
int store_client_feed(struct store_client *c, const void *data, size_t len, struct mu_err *err);

/*
 * The next client with new output, taken off the ready list; NULL when there is none. A client
 * comes back when more is added to its `out`, whether or not the rest had been written.
 */
struct store_client *store_take_ready(struct store *s);
