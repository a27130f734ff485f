/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking client of a c10d key-value store: muster's, or PyTorch's own TCPStore server.
 *
 * Stands alone in libmuster_store_client.a, without an event loop, for C programs that are started
 * by muster and want to meet, and for tests. What a key is called on the wire is what PyTorch's
 * TCPStore calls it: "/" + prefix + "/" + key, or "/" + key without a prefix, so both kinds of
 * clients see each other's keys.
 *
 * Every call waits at most the client's timeout for each answer of the server and then fails with
 * MU_E_TIMEOUT. What waits for others (wait, get, multi_get, barrier, blocking queue_pop) tells the
 * server that it gave up; the client can go on. After any other failure once something was sent,
 * and after a server that does not answer at all, the connection is closed and every later call
 * fails with MU_E_LOST. MU_E_USAGE (a key, value or list beyond the limits) sends nothing.
 *
 * The struct is not called store_client: that is what the store in the server calls its peers.
 *
 * Keys are NUL-terminated text; values are any bytes. Slices and buffers that are given in are
 * borrowed for the call. A `ret_` buffer is the caller's: it must be valid (zeroed will do), what
 * it held is replaced, and mu_buf_fini() releases it.
 *
 * Threading: one thread at a time per client. SIGPIPE is never raised.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_conn;

/*
 * Connect to `host` (numeric or a name) and shake hands: VALIDATE, and PING, which must come back.
 * While the name cannot be resolved or nobody listens there, tries again until `timeout_ms` is
 * over: the server may be about to start. `timeout_ms` (> 0) stays the timeout of every later call.
 * `prefix` (copied) is put in front of every key; NULL for none. Returns a client owned by the
 * caller, or NULL: MU_E_CONNECT, MU_E_TIMEOUT, MU_E_PROTOCOL (what answers is no such store).
 */
struct store_conn *store_conn_open(const char *host, uint16_t port, const char *prefix,
                                   int64_t timeout_ms, struct mu_err *err);

/* Closes the connection and frees the client; NULL is allowed. */
void store_conn_close(struct store_conn *c);

/* Change the timeout of later calls, in milliseconds, > 0. */
void store_conn_set_timeout(struct store_conn *c, int64_t timeout_ms);

/*
 * Store a value. Not acknowledged: that it returned does not mean that others see it yet, but calls
 * on this client that follow do.
 */
int store_conn_set(struct store_conn *c, const char *key, struct mu_slice value,
                   struct mu_err *err);

/* Wait until the key exists and read it. */
int store_conn_get(struct store_conn *c, const char *key, struct mu_buf *ret_value,
                   struct mu_err *err);

/* Add to a counter, which begins at 0; `ret_sum` is its new value. */
int store_conn_add(struct store_conn *c, const char *key, int64_t delta, int64_t *ret_sum,
                   struct mu_err *err);

/*
 * Store `desired` if the value is `expected`, an absent key counting as an empty value. `ret_value`
 * is then `desired`; otherwise what is stored, or `expected` if the key is absent.
 */
int store_conn_compare_set(struct store_conn *c, const char *key, struct mu_slice expected,
                           struct mu_slice desired, struct mu_buf *ret_value, struct mu_err *err);

/*
 * Wait until all keys exist (a queue that is not empty counts), at most `timeout_ms`, or the
 * client's timeout if that is negative. On MU_E_TIMEOUT the client can still be used.
 */
int store_conn_wait(struct store_conn *c, const char *const *keys, size_t count, int64_t timeout_ms,
                    struct mu_err *err);

/* Do all keys exist, now? */
int store_conn_check(struct store_conn *c, const char *const *keys, size_t count, bool *ret_exist,
                     struct mu_err *err);

/* Add to the end of a value, which begins empty. Not acknowledged, as set. */
int store_conn_append(struct store_conn *c, const char *key, struct mu_slice value,
                      struct mu_err *err);

/* Delete a key; `ret_existed` (may be NULL) tells whether it was there. */
int store_conn_delete(struct store_conn *c, const char *key, bool *ret_existed, struct mu_err *err);

/* Keys in the whole store, those of other prefixes included, queues not. */
int store_conn_num_keys(struct store_conn *c, int64_t *ret_count, struct mu_err *err);

/* Wait until all keys exist and read them: `ret_values` has room for `count` buffers. */
int store_conn_multi_get(struct store_conn *c, const char *const *keys, size_t count,
                         struct mu_buf *ret_values, struct mu_err *err);

/* Store several values in order. Not acknowledged, as set. */
int store_conn_multi_set(struct store_conn *c, const char *const *keys,
                         const struct mu_slice *values, size_t count, struct mu_err *err);

/*
 * Wait until `world_size` clients have come to the barrier `key`, which then stays open: each
 * meeting needs a key of its own. Who times out still counts as come. Needs a server of torch 2.12
 * or later, or muster.
 */
int store_conn_barrier(struct store_conn *c, const char *key, int64_t world_size,
                       struct mu_err *err);

/* Add to the end of a queue. Not acknowledged, as set. */
int store_conn_queue_push(struct store_conn *c, const char *key, struct mu_slice value,
                          struct mu_err *err);

/*
 * Take the oldest value of a queue. `is_blocking`: wait for one. Without one there, or when another
 * client was faster, fails with MU_E_CANCELED and the client can still be used.
 */
int store_conn_queue_pop(struct store_conn *c, const char *key, bool is_blocking,
                         struct mu_buf *ret_value, struct mu_err *err);

/* Values in a queue. */
int store_conn_queue_len(struct store_conn *c, const char *key, int64_t *ret_len,
                         struct mu_err *err);

/*
 * The keys under the client's prefix, without it, in no order: each followed by a NUL in
 * `ret_keys`, `ret_count` of them. Keys that contain a NUL are left out, as are those that no
 * client can name.
 */
int store_conn_list_keys(struct store_conn *c, struct mu_buf *ret_keys, size_t *ret_count,
                         struct mu_err *err);
