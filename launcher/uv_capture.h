/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reading end of one output stream of a worker. Its bytes go on to a console, unchanged or line
 * by line behind a prefix; to a log file; the lines that match to a file of all workers; the last
 * of them are kept. When one of these is full the pipe is not read, so that the worker waits, as it
 * would if it wrote there itself.
 *
 * The beginning of a line is shown after UV_CAPTURE_HOLD_MS (a prompt, a progress bar).
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/line_filter.h"
#include "launcher/line_stream.h"
#include "launcher/tail_ring.h"
#include "launcher/trace_keep.h"
#include "launcher/uv_file.h"
#include "launcher/uv_out.h"
#include "launcher/uv_waiter.h"
#include "muster/err.h"

#include <uv.h>

enum { UV_CAPTURE_HOLD_MS = 100, UV_CAPTURE_PIPE_MAX = 256 * 1024 };

/* Where it goes; everything borrowed until uv_capture_close() unless it says otherwise. */
struct uv_capture_sinks {
    struct uv_out *console;           /* NULL: none */
    const char *prefix;               /* NULL: bytes go to the console unchanged */
    struct uv_file *file;             /* takes; NULL: none */
    struct uv_file *filtered;         /* needs a prefix; NULL: none */
    const struct line_filter *filter; /* of what goes to `filtered` */
    bool keeps_tail;
    bool may_grow_pipe;     /* to UV_CAPTURE_PIPE_MAX bytes, once much is written to it */
    struct mu_buf *scratch; /* empty between calls; all captures may share it */
};

/* Embedded in its owner; zero-initialised means not open. */
struct uv_capture {
    uv_poll_t poll;
    uv_timer_t timer; /* for what `lines` holds */
    int fd;           /* owned */
    struct uv_capture_sinks sinks;
    struct uv_waiter waiter;
    struct tail_ring tail;
    struct trace_keep trace;
    struct line_stream lines;
    struct line_filter_stream matches;
    uint64_t console_total; /* uv_out_total() after its last write there */
    uint64_t held_since_ms;
    bool is_flooding; /* the last read found so much that a writer most likely waits */
    bool is_open;     /* poll and timer must be closed */
    bool is_over;     /* the last writer is gone */
};

/*
 * Watch `fd` (a pipe's non-blocking end), which is the capture's from then on, as is sinks->file,
 * on failure too.
 */
int uv_capture_open(struct uv_capture *c, uv_loop_t *loop, int fd,
                    const struct uv_capture_sinks *sinks, struct mu_err *err);

/*
 * The worker has ended: read what is in the pipe now, even if a sink is full, and give out a last
 * line without an end. Bounded: a writer that goes on writing is not followed.
 */
void uv_capture_drain(struct uv_capture *c);

/* Bytes that were written so far, those in the pipe included. Counts only where a tail is kept. */
uint64_t uv_capture_total(const struct uv_capture *c);

/*
 * Stop and close; the file is written to its end. Returns how often `closed` will be called from
 * the loop, with a handle whose data is `data`: 0 if it was not open.
 */
unsigned uv_capture_close(struct uv_capture *c, void *data, uv_close_cb closed);

/* Releases memory, the tail's too, once closed. */
void uv_capture_fini(struct uv_capture *c);
