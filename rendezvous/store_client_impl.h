/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store client share: the connection, and how one call is made on it.
 *
 *     if (store_call_begin(c, C10D_ADD, err) != 0 || store_call_put_key(c, key, err) != 0 || ...
 *         store_call_ask_i64(c, ret_sum, err) != 0) {
 *         return store_call_failed(c, "add", key, err);
 *     }
 */
#pragma once

#include "muster/store_client.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store_client_io.h"

/* What an exchange that was begun still gets after a cancel, and telling the server at least. */
enum { STORE_GRACE_MS = 2000 };

struct store_conn {
    int fd;       /* owned; -1 once broken */
    bool is_sent; /* of the call at hand, something was */
    bool has_prefix;
    bool is_waiting; /* between store_conn_wait_start() and its answer */
    uint16_t port;
    int64_t timeout_ms;
    char *host;                  /* owned */
    char *name;                  /* owned; host:port, for messages */
    struct store_cancel *cancel; /* borrowed; may be NULL */
    struct mu_buf start;         /* owned; what every key begins with on the wire */
    struct mu_buf request;       /* owned; being built */
    struct store_io_limit limit; /* of the request at hand and its reply */
    size_t reply_room;           /* bytes of values that the reply at hand may still bring */
};

/* The descriptor that can be read while the cancel is raised; -1 for NULL. */
int store_cancel_fd(const struct store_cancel *cancel);

/* A limit from now on, which the client's cancel cuts short after the grace. */
struct store_io_limit store_call_limit(const struct store_conn *c, int64_t timeout_ms,
                                       int64_t grace_ms);

/*
 * Begin a request. Fails, with nothing sent, when the connection was lost, while a wait is under
 * way, or when the cancel is raised.
 */
int store_call_begin(struct store_conn *c, enum c10d_query query, struct mu_err *err);

/* Append a field; MU_E_USAGE beyond the limits of muster/limits.h. `values` may be NULL. */
int store_call_put_key(struct store_conn *c, const char *key, struct mu_err *err);
int store_call_put_value(struct store_conn *c, struct mu_slice value, struct mu_err *err);
int store_call_put_keys(struct store_conn *c, const char *const *keys,
                        const struct mu_slice *values, size_t count, struct mu_err *err);

/* Send the request, which begins the time that it and its reply have. */
int store_call_send(struct store_conn *c, struct mu_err *err);

/* The same within c->limit as it is. */
int store_call_send_within_limit(struct store_conn *c, struct mu_err *err);

/* Receive a field of the reply. A count is not negative; what `ret_value` held is replaced. */
int store_call_recv_u8(struct store_conn *c, uint8_t *ret_v, struct mu_err *err);
int store_call_recv_i64(struct store_conn *c, int64_t *ret_v, struct mu_err *err);
int store_call_recv_count(struct store_conn *c, int64_t *ret_count, struct mu_err *err);
int store_call_recv_value(struct store_conn *c, struct mu_buf *ret_value, struct mu_err *err);

/* Send a request that is answered by a number, by a count. */
int store_call_ask_i64(struct store_conn *c, int64_t *ret_v, struct mu_err *err);
int store_call_ask_count(struct store_conn *c, int64_t *ret_count, struct mu_err *err);

/*
 * A call that failed: say which, and give up the connection if a reply could still come that nobody
 * waits for. `key` may be NULL. Returns -1.
 */
int store_call_failed(struct store_conn *c, const char *call, const char *key, struct mu_err *err);

/* WAIT for keys on behalf of `call`, at most `timeout_ms`; the errors of store_conn_wait(). */
int store_call_wait(struct store_conn *c, const char *const *keys, size_t count, int64_t timeout_ms,
                    const char *call, struct mu_err *err);
