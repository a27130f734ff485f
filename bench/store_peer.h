/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocking connection to the server that is measured. Whatever goes wrong ends the program: a
 * benchmark with a failed operation has no result.
 */
#pragma once

#include "muster/buf.h"

#include <stdint.h>

/* Says what and errno on standard error, and exits with 1. */
void peer_fail(const char *what) __attribute__((noreturn, cold));

/* As many descriptors as this process may have. */
void peer_raise_file_limit(void);

/*
 * Connect to `port` of 127.0.0.1. The source is 127.0.0.1, .2, ... by `number`, with some thousand
 * connections of each address, for ports are finite and stay taken for a while. The descriptor is
 * the caller's.
 */
int peer_connect(uint16_t port, unsigned number);

void peer_send(int fd, const struct mu_buf *request);
void peer_receive(int fd, size_t len); /* waits for so many bytes and forgets them */
