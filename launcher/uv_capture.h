/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reading end of one worker's standard error: bytes go on unchanged to a uv_out, the last of
 * them are kept. When the uv_out is full the pipe is not read, so that the worker waits, as it
 * would if it wrote there itself.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/tail_ring.h"
#include "launcher/uv_out.h"
#include "muster/err.h"

#include <uv.h>

/* Embedded in its owner; zero-initialised means not open. */
struct uv_capture {
    uv_poll_t poll;
    int fd;             /* owned */
    struct uv_out *out; /* borrowed; NULL: keep the tail only */
    struct uv_out_waiter waiter;
    struct tail_ring tail;
    bool is_open; /* poll must be closed */
    bool is_over; /* the last writer is gone */
};

/* Watch `fd` (a pipe's non-blocking end), which is the capture's from then on. */
int uv_capture_open(struct uv_capture *c, uv_loop_t *loop, int fd, struct uv_out *out,
                    struct mu_err *err);

/*
 * Read what is in the pipe now, even if the uv_out is full. Bounded: a writer that goes on writing
 * is not followed.
 */
void uv_capture_drain(struct uv_capture *c);

/*
 * Stop and close. Returns true if `closed` will be called from the loop, with a handle whose data
 * is `data`; false if it was not open.
 */
bool uv_capture_close(struct uv_capture *c, void *data, uv_close_cb closed);

/* Releases the tail's memory, once closed. */
void uv_capture_fini(struct uv_capture *c);
