/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP connection on the loop: reads in any pieces, writes that never block, an end that is told
 * once. Every protocol of the port runs on it, and so does an agent's link to its coordinator.
 *
 * Ownership: a connection belongs to whoever set its handlers, until uv_conn_close() or
 * uv_conn_finish() is called; it frees itself after its last close callback. When `closed` is
 * called the owner must still call uv_conn_close() (usually right there).
 *
 * Policy: uv_conn_send() ends a connection (MU_E_LIMIT) with more than MU_CONN_WRITE_HIGH unsent
 * bytes: a peer that does not read may not hold our memory.
 *
 * Threading: the loop thread only. Handlers never run inside a call of this interface.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

struct uv_conn;

struct uv_conn_handlers {
    /* Bytes came; borrowed for the call. */
    void (*data)(void *arg, const uint8_t *data, size_t len);
    /*
     * The peer closed (MU_E_LOST, without an errno), the network failed (MU_E_LOST with one), or a
     * limit was hit. Called once.
     */
    void (*closed)(void *arg, const struct mu_err *why);
};

/*
 * What connections accepted from a bound listening handle are to be like: without delay, and with
 * the time-out of uv_conn_set_timeout(). They inherit it, which spares each of them six system
 * calls.
 */
void uv_conn_prepare_listener(uv_tcp_t *listener, int64_t timeout_ms);

/* Take the next connection of a listening handle, from within its connection callback. */
struct uv_conn *uv_conn_accept(uv_stream_t *listener, struct mu_err *err);

/*
 * Connect to a numeric address. `connected` is called once, with NULL for success or the reason;
 * after a failure the connection must still be closed.
 */
typedef void (*uv_conn_connected_fn)(void *arg, const struct mu_err *failure);
struct uv_conn *uv_conn_connect(uv_loop_t *loop, const struct sockaddr *addr,
                                uv_conn_connected_fn connected, void *arg, struct mu_err *err);

/* Who gets what happens; reading starts with the first call. May be changed at any time. */
void uv_conn_set_handlers(struct uv_conn *c, const struct uv_conn_handlers *handlers, void *arg);

/* Copies what cannot be written at once. Failures are told through `closed`. */
void uv_conn_send(struct uv_conn *c, const void *data, size_t len);

/*
 * Give the kernel what it takes right now; the bytes are not copied. Returns how many it took: none
 * if earlier ones wait, or if the connection failed, which `closed` will tell.
 */
size_t uv_conn_try_send(struct uv_conn *c, const struct mu_slice *slices, size_t count);

/*
 * Send without copying: the bytes must stay as they are until `sent` is called, once, from the
 * loop, whether they were sent or the connection ended. False if the connection has ended already:
 * then it is not called. No limit is applied: that is the owner's business.
 */
typedef void (*uv_conn_sent_fn)(void *arg);
bool uv_conn_send_kept(struct uv_conn *c, const struct mu_slice *slices, size_t count,
                       uv_conn_sent_fn sent, void *arg);

/*
 * Stop reading, for a peer that asks for more than it takes; and go on. While paused only a failing
 * write tells that the peer is gone.
 */
void uv_conn_pause(struct uv_conn *c);
void uv_conn_resume(struct uv_conn *c);

/* Bytes accepted for sending that the kernel has not taken yet. */
size_t uv_conn_unsent(const struct uv_conn *c);

/*
 * Detect a peer that vanished without a word: TCP keepalive for an idle connection and
 * TCP_USER_TIMEOUT for one with data in flight; both are needed.
 */
void uv_conn_set_timeout(struct uv_conn *c, int64_t timeout_ms);

/* Numeric address of the peer, without the port; and ours, which the peer reached or may reach. */
const char *uv_conn_peer(const struct uv_conn *c);
const char *uv_conn_local(struct uv_conn *c);
uint16_t uv_conn_peer_port(const struct uv_conn *c); /* 0: not known */

/* Its descriptor, which stays the connection's; -1 if it has none yet. */
int uv_conn_descriptor(const struct uv_conn *c);

/* Close at once; what is unsent is lost. No handler is called any more. */
void uv_conn_close(struct uv_conn *c);

/* The same, but the peer sees a connection that broke, not one that was closed in order. */
void uv_conn_reset(struct uv_conn *c);

/*
 * Send what is left, then close after the peer did, or after `linger_ms`: closing with unread
 * input would reset the connection and could destroy our last words. No handler is called.
 */
void uv_conn_finish(struct uv_conn *c, int64_t linger_ms);
