/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last MU_STDERR_TAIL bytes of a stream. Memory grows with what was written and stops there:
 * a thousand silent workers cost nothing. Zero-initialised is a valid empty ring.
 *
 * Threading: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tail_ring {
    char *data;     /* owned */
    size_t cap;     /* allocated, at most MU_STDERR_TAIL */
    size_t len;     /* bytes held */
    size_t start;   /* where the oldest byte is; 0 until the ring is full */
    uint64_t total; /* bytes ever appended */
};

void tail_ring_fini(struct tail_ring *r); /* releases the memory; r is empty then */
void tail_ring_append(struct tail_ring *r, const char *data, size_t len);

/* Copy the last min(size, held) bytes to `buf`, without a NUL. Returns how many. */
size_t tail_ring_copy(const struct tail_ring *r, char *buf, size_t size);
