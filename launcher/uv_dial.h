/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an endpoint to a connection: look the name up (again each time: DNS may change, or be late)
 * and try its addresses in turn.
 *
 * Threading: the loop thread only; the look-up of a name that is no number runs in libuv's pool.
 */
#pragma once

#include "muster/addr.h"
#include "muster/uv_conn.h"

struct uv_dial;

struct uv_dial_handlers {
    /* The addresses of the endpoint, before the first is tried; borrowed for the call. */
    void (*resolved)(void *arg, const struct sockaddr_storage *addrs, size_t count);
    /* The connection; the caller owns it now. */
    void (*connected)(void *arg, struct uv_conn *conn);
    /* No address answered; the reason of the last one. */
    void (*failed)(void *arg, const struct mu_err *why);
};

/* `endpoint` is copied, `handlers` borrowed. Owned by the caller until uv_dial_close(). */
struct uv_dial *uv_dial_new(uv_loop_t *loop, const struct mu_endpoint *endpoint,
                            const struct uv_dial_handlers *handlers, void *arg);

/* One attempt; ends with `connected` or `failed`. Not while one is under way. */
void uv_dial_start(struct uv_dial *d);

/* No handler is called any more; frees itself. */
void uv_dial_close(struct uv_dial *d);
