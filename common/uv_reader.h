/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells many connections that they can be read, for less than libuv's own watchers cost: an
 * edge-triggered epoll set beside that of the loop, which is not asked again about each descriptor
 * that has just been read, and which fetches from memory what the next connections need while one
 * is served.
 *
 * One reader for all connections of a loop: it comes with the first and goes after the last.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct uv_reader;

/* A watched descriptor; embedded in the connection. */
struct uv_readable {
    struct uv_reader *reader; /* NULL while not watched */
    int fd;
    /*
     * It can be read; `has_ended`: up to its end, or it has failed. Not told again before more
     * comes, so it is to be read until there is less than was asked for, or until its end. Called
     * from the loop; may forget this one and others.
     */
    void (*ready)(struct uv_readable *r, bool has_ended);
};

/* Watch `r->fd`, whose `ready` is set. Returns 0 or a libuv error. */
int uv_reader_watch(uv_loop_t *loop, struct uv_readable *r);

/* Say once more that it can be read, if it can: it was not read to the end, or not at all. */
void uv_reader_again(struct uv_readable *r);

/*
 * Forget it, before its descriptor is closed. Its memory must stay until the next turn of the loop,
 * as that of a handle whose close callback has not been called does.
 */
void uv_reader_forget(struct uv_readable *r);
