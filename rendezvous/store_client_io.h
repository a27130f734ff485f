/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking TCP connection with deadlines that can be cancelled, for the store client: no event
 * loop, no signals.
 *
 * Threading: one thread at a time per descriptor. A signal interrupts nothing.
 */
#pragma once

#include "muster/err.h"

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How long a transfer may wait: until a moment of store_io_now_ms(), or until `cancel_fd`
 * (borrowed, -1 for none) can be read. A cancel that is noticed moves the deadline to `grace_ms`
 * from then (0: to then) and is remembered here: what runs out of time now was cancelled.
 */
struct store_io_limit {
    int64_t deadline_ms;
    int64_t grace_ms;
    int cancel_fd;
    bool is_canceled;
};

/* Monotonic milliseconds. */
int64_t store_io_now_ms(void);

/*
 * Wait until the descriptor has one of the events of poll(2), or has failed: 0. At the end of the
 * limit -1 with errno ETIMEDOUT, or ECANCELED. A negative `fd` only waits.
 */
int store_io_wait(int fd, short events, struct store_io_limit *limit);

/*
 * Connect to the host, trying all of its addresses once. Returns a non-blocking descriptor, owned
 * by the caller, or -1: MU_E_CONNECT, MU_E_CANCELED.
 */
int store_io_connect(const char *host, uint16_t port, struct store_io_limit *limit,
                     struct mu_err *err);

/* Send all of it. MU_E_TIMEOUT, MU_E_CANCELED, MU_E_LOST. */
int store_io_send(int fd, const void *data, size_t len, struct store_io_limit *limit,
                  struct mu_err *err);

/* Receive exactly `len` bytes. MU_E_TIMEOUT, MU_E_CANCELED, MU_E_LOST. */
int store_io_recv(int fd, void *data, size_t len, struct store_io_limit *limit, struct mu_err *err);

/* Sleep, but not beyond the limit. */
void store_io_pause(int64_t ms, struct store_io_limit *limit);

/*
 * Addresses of a host, released with freeaddrinfo(). NULL: MU_E_CONNECT (there are none, or the
 * deadline passed), MU_E_CANCELED.
 */
struct addrinfo *store_io_resolve(const char *host, uint16_t port, struct store_io_limit *limit,
                                  struct mu_err *err);
