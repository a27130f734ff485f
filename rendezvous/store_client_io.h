/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking TCP connection with deadlines, for the store client: no event loop, no signals.
 *
 * Deadlines are moments of store_io_now_ms(). Threading: one thread at a time per descriptor.
 */
#pragma once

#include "muster/err.h"

#include <stddef.h>
#include <stdint.h>

/* Monotonic milliseconds. */
int64_t store_io_now_ms(void);

/*
 * Connect to the host, trying all of its addresses once. Returns a non-blocking descriptor, owned
 * by the caller, or -1 with MU_E_CONNECT.
 */
int store_io_connect(const char *host, uint16_t port, int64_t deadline_ms, struct mu_err *err);

/* Send all of it. MU_E_TIMEOUT, MU_E_LOST. */
int store_io_send(int fd, const void *data, size_t len, int64_t deadline_ms, struct mu_err *err);

/* Receive exactly `len` bytes. MU_E_TIMEOUT, MU_E_LOST. */
int store_io_recv(int fd, void *data, size_t len, int64_t deadline_ms, struct mu_err *err);

/* Sleep, but not beyond the deadline. */
void store_io_pause(int64_t ms, int64_t deadline_ms);
