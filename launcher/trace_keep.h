/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of the last Python traceback of a stream, kept beside its tail: what a worker says
 * afterwards, or a message of a megabyte, may be more than the tail holds. A traceback soon after
 * another one, as in a chain, is kept with it. Zero-initialised is valid and empty.
 *
 * Threading: any.
 */
#pragma once

#include "launcher/tail_ring.h"

struct trace_keep {
    char *data;     /* owned; MU_STDERR_TRACE bytes once there was a traceback */
    size_t len;     /* bytes held */
    uint64_t start; /* their place in the stream */
};

void trace_keep_fini(struct trace_keep *k); /* releases the memory; k is empty then */

/* Bytes that come next in the stream; `before` has what came before them, and not them yet. */
void trace_keep_add(struct trace_keep *k, const struct tail_ring *before, const char *data,
                    size_t len);

/*
 * Copy what the tail does not hold any more to `buf`, of at least MU_STDERR_TRACE + 1 bytes, with
 * the end of a line after it if bytes are missing before the tail. Returns how many; 0: the tail
 * says it all.
 */
size_t trace_keep_copy(const struct trace_keep *k, const struct tail_ring *tail, char *buf);
