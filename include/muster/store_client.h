/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking client of a c10d key-value store: muster's, or PyTorch's own TCPStore server.
 *
 * Stands alone in libmuster_store_client.a, without an event loop, for C programs that are started
 * by muster and want to meet, and for tests; muster_store_client(3) is the manual. What a key is
 * called on the wire is what PyTorch's TCPStore calls it: "/" + prefix + "/" + key, or "/" + key
 * without a prefix, so both kinds of clients see each other's keys.
 *
 * Time: every request and its answer have the client's timeout together, then the call fails with
 * MU_E_TIMEOUT. What waits for others (wait, get, multi_get, barrier, queue_pop) tells the server
 * that it gave up, for which there is the timeout once more, or two seconds if that is longer; the
 * client can go on. After any other failure once something was sent, and after
 * a server that does not answer at all, the connection is closed and every later call fails with
 * MU_E_LOST. MU_E_USAGE (a key, value, list or request beyond the limits of docs/PROTOCOL-c10d.md)
 * sends nothing. What a server announces takes no memory until it has come; a value of more than
 * 64 MiB, or a reply of more than 1 GiB, is MU_E_LIMIT.
 *
 * Cancel: another thread or a signal handler ends a call early, see store_cancel_raise(). A signal
 * by itself ends nothing.
 *
 * The struct is not called store_client: that is what the store in the server calls its peers.
 *
 * Keys are NUL-terminated text; values are any bytes. Slices and buffers that are given in are
 * borrowed for the call. A `ret_` buffer is the caller's: it must be valid (zeroed will do), what
 * it held is replaced, and mu_buf_fini() releases it.
 *
 * Threading: one thread at a time per client; store_conn_clone() gives each its own. SIGPIPE is
 * never raised. Looking up a name takes a thread for as long as it lasts.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_conn;
struct store_cancel;

/* ---- cancel ---- */

/* Not raised; owned by the caller. NULL: MU_E_SYSTEM (no descriptor is left). */
struct store_cancel *store_cancel_new(struct mu_err *err);

/* Only after every client that was given it is closed; NULL is allowed. */
void store_cancel_free(struct store_cancel *cancel);

/*
 * Make every client that was given this cancel return with MU_E_CANCELED, and stay so until
 * store_cancel_clear(): a call that comes later fails at once and sends nothing, so one that is
 * just about to block is not missed. Any thread may call this, and a signal handler: it is
 * async-signal-safe.
 *
 * What waits for others is taken back and the client can go on after the clear; if it happened just
 * then, the call succeeds. Any other call that was begun is finished, and succeeds. If the server
 * answers neither within two seconds, the connection is closed. Connecting ends at once.
 */
void store_cancel_raise(struct store_cancel *cancel);

/*
 * Calls work again. Any thread may call this, once the calls that were to end have returned: one
 * that is asleep may miss a cancel that is gone again when it wakes.
 */
void store_cancel_clear(struct store_cancel *cancel);

bool store_cancel_is_raised(const struct store_cancel *cancel);

/* ---- connection ---- */

/*
 * Connect to `host` (numeric or a name) and shake hands: VALIDATE, and PING, which must come back.
 * While the name cannot be resolved or nobody listens there, tries again until `timeout_ms` is
 * over: the server may be about to start. All of it, looking up the name included, ends by then.
 * `timeout_ms` (> 0) stays the timeout of every later call. `prefix` (copied) is put in front of
 * every key; NULL for none. Returns a client owned by the caller, or NULL: MU_E_CONNECT,
 * MU_E_TIMEOUT (something listens there and says nothing), MU_E_PROTOCOL (what answers is no such
 * store).
 */
struct store_conn *store_conn_open(const char *host, uint16_t port, const char *prefix,
                                   int64_t timeout_ms, struct mu_err *err);

/* The same, for a client that `cancel` (borrowed) ends the calls of, this one included. */
struct store_conn *store_conn_open_cancelable(const char *host, uint16_t port, const char *prefix,
                                              int64_t timeout_ms, struct store_cancel *cancel,
                                              struct mu_err *err);

/* A second connection to the same server, with the same prefix, timeout and cancel. */
struct store_conn *store_conn_clone(const struct store_conn *c, struct mu_err *err);

/* Closes the connection and frees the client; NULL is allowed. */
void store_conn_close(struct store_conn *c);

/* Change the timeout of later calls, in milliseconds, > 0. */
void store_conn_set_timeout(struct store_conn *c, int64_t timeout_ms);

/*
 * Ask for a sign of life. When it returns, every unacknowledged call before it (set, append,
 * multi_set, queue_push) has taken effect. Needs a server of torch 2.5 or later, or muster.
 */
int store_conn_ping(struct store_conn *c, struct mu_err *err);

/* ---- keys ---- */

/*
 * Store a value. Not acknowledged: that it returned does not mean that others see it yet, but calls
 * on this client that follow do.
 */
int store_conn_set(struct store_conn *c, const char *key, struct mu_slice value,
                   struct mu_err *err);

/* Wait until the key exists and read it; empty if it was deleted in between. */
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
 * client's timeout if that is negative; 0 asks whether they do. On MU_E_TIMEOUT and MU_E_CANCELED
 * the client can still be used.
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
 * The keys under the client's prefix, without it, in no order: each followed by a NUL in
 * `ret_keys`, `ret_count` of them. Keys that contain a NUL are left out, as are those that no
 * client can name. Needs torch 2.10 or later, or muster.
 */
int store_conn_list_keys(struct store_conn *c, struct mu_buf *ret_keys, size_t *ret_count,
                         struct mu_err *err);

/*
 * Wait until `world_size` clients have come to the barrier `key`, which then stays open: each
 * meeting needs a key of its own. Who times out or is cancelled still counts as come. Meets who
 * calls barrier() of PyTorch's TCPStore, or of its PrefixStore for a client with a prefix; without
 * one it needs a server of torch 2.12 or later, or muster.
 */
int store_conn_barrier(struct store_conn *c, const char *key, int64_t world_size,
                       struct mu_err *err);

/* ---- queues ---- */

/* Add to the end of a queue. Not acknowledged, as set. */
int store_conn_queue_push(struct store_conn *c, const char *key, struct mu_slice value,
                          struct mu_err *err);

/* Wait for a queue to have a value and take its oldest. Needs torch 2.8 or later, or muster. */
int store_conn_queue_pop(struct store_conn *c, const char *key, struct mu_buf *ret_value,
                         struct mu_err *err);

/* The same without waiting: `ret_is_taken` tells whether there was one. */
int store_conn_queue_try_pop(struct store_conn *c, const char *key, bool *ret_is_taken,
                             struct mu_buf *ret_value, struct mu_err *err);

/* Values in a queue. */
int store_conn_queue_len(struct store_conn *c, const char *key, int64_t *ret_len,
                         struct mu_err *err);

/* ---- waiting in a loop of one's own ---- */

/*
 * Begin to wait for keys, as store_conn_wait() does, and return. Until the wait is done or stopped
 * every other call fails with MU_E_USAGE. Time is the caller's business, and a cancel does not end
 * a wait that was started so.
 */
int store_conn_wait_start(struct store_conn *c, const char *const *keys, size_t count,
                          struct mu_err *err);

/*
 * What to poll(2) for POLLIN until store_conn_wait_poll() has something to read; -1 once the
 * connection is lost. Owned by the client; not to be read, written or closed.
 */
int store_conn_fd(const struct store_conn *c);

/* Is it done? Never blocks. */
int store_conn_wait_poll(struct store_conn *c, bool *ret_is_done, struct mu_err *err);

/* Stop to wait, in one round trip; `ret_is_done` (may be NULL): it was done after all. */
int store_conn_wait_stop(struct store_conn *c, bool *ret_is_done, struct mu_err *err);
