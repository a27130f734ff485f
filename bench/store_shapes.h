/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the load generator of bench/store asks: the bytes of each operation, for three kinds of
 * servers, and how long the answer is. An operation is everything between one answer and the next.
 *
 * c10d: a TCPStore, PyTorch's or muster's. redis: the same shapes in RESP. bare: the echo server of
 * bench/bare_echo.c, which is sent what c10d is sent, and answers as many bytes as c10d does.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum shapes_server { SHAPES_C10D, SHAPES_REDIS, SHAPES_BARE };

enum shapes_step {
    SHAPES_ONE,     /* one request, one answer of a known length or of one line */
    SHAPES_BARRIER, /* BARRIER on a key of this turn, among all connections */
    SHAPES_MEET,    /* ADD on a key of this turn; who is last SETs another; all WAIT for that */
    SHAPES_CONNECT, /* a connection and its hello */
};

struct shapes {
    const char *name;
    enum shapes_step step;
    size_t value; /* bytes of the values */
};

/* The shape called `name`, or NULL. */
const struct shapes *shapes_find(const char *name);

/* How such a server is asked: for the echo server a BARRIER is a request like others. */
enum shapes_step shapes_step(const struct shapes *shape, enum shapes_server server);

/* Can such a server be asked this? */
bool shapes_has(const struct shapes *shape, enum shapes_server server);

/* What a new connection sends before anything else, and how many bytes come back. */
size_t shapes_hello(enum shapes_server server, struct mu_buf *out);

/* Stores what is going to be read; the length of the answer that says so. Not for bare. */
size_t shapes_prepare(const struct shapes *shape, enum shapes_server server, struct mu_buf *out);

/*
 * Append a SHAPES_ONE request of connection `number`; returns the length of the answer, or 0 for
 * an answer that ends with the first "\r\n".
 */
size_t shapes_request(const struct shapes *shape, enum shapes_server server, unsigned number,
                      struct mu_buf *out);

/* The requests of SHAPES_BARRIER and SHAPES_MEET (c10d) for one turn. */
void shapes_barrier(uint64_t turn, unsigned world, struct mu_buf *out);
void shapes_meet_add(uint64_t turn, struct mu_buf *out);
void shapes_meet_set(uint64_t turn, struct mu_buf *out);
void shapes_meet_wait(uint64_t turn, struct mu_buf *out);

/*
 * For connections that are kept: an ADD, a WAIT for a key with an answer that says it is known, the
 * SET of that key. Each returns the length of the answer, that of the SET goes to who waits. redis:
 * INCRBY, SUBSCRIBE, PUBLISH. bare: the first only.
 */
size_t shapes_hold_add(enum shapes_server server, struct mu_buf *out);
size_t shapes_hold_wait(enum shapes_server server, struct mu_buf *out);
size_t shapes_hold_release(enum shapes_server server, struct mu_buf *out);
