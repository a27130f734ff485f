/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer to an inherited descriptor (standard output, standard error) that never blocks the loop.
 *
 * The descriptor's file description is shared with the shell, the terminal and the workers, so it
 * is never made non-blocking. A pipe or a terminal is opened once more for a description of our
 * own; where that is refused, and for sockets, each write is small and preceded by poll(2).
 * Regular files are always writable.
 *
 * What cannot be written at once is queued. Above a high-water mark uv_out_is_full() asks whoever
 * feeds worker output to pause (uv_out_wait()); a queue that grows on nevertheless is cut off at a
 * limit and what was lost is counted and said. A descriptor that fails (EPIPE, ENOSPC, ...) is not
 * written again: output is counted and dropped, and nothing else suffers.
 *
 * The process ignores SIGPIPE from uv_out_new() on.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/uv_waiter.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct uv_out;

/* Once: the errno that ended writing. Called inside the write that failed. */
typedef void (*uv_out_failed_fn)(void *arg, int error);

/* `fd` is borrowed and stays open. NULL on failure. Owned by the caller until uv_out_close(). */
struct uv_out *uv_out_new(uv_loop_t *loop, int fd, struct mu_err *err);

/* Write now what can be written now, queue a copy of the rest. */
void uv_out_write(struct uv_out *out, const char *data, size_t len);

/* A mu_log_sink_fn; `arg` is the struct uv_out. A line never continues an unfinished one. */
void uv_out_log_sink(void *arg, const char *line, size_t len);

bool uv_out_is_full(const struct uv_out *out);

/* Have w->fn called when the queue is short again; w must outlive that, or be taken back. */
void uv_out_wait(struct uv_out *out, struct uv_waiter *w);

/* Have `fn` called if writing fails. */
void uv_out_on_failed(struct uv_out *out, uv_out_failed_fn fn, void *arg);

/* Whether the last byte given to it was no newline. */
bool uv_out_is_mid_line(const struct uv_out *out);

/* Bytes given to it so far, dropped ones included: whoever remembers it knows who wrote last. */
uint64_t uv_out_total(const struct uv_out *out);

/* From now on the loop ends although something is queued: the end of the process is near. */
void uv_out_unref(struct uv_out *out);

/*
 * Write the queue out; the loop need not run. Gives up when nothing could be written for
 * `patience_ms`, or after `limit_ms` in all. True if all was written.
 */
bool uv_out_flush_blocking(struct uv_out *out, int64_t patience_ms, int64_t limit_ms);

/* Bytes that were dropped, and the errno that ended writing (0: none). */
uint64_t uv_out_lost(const struct uv_out *out);
int uv_out_error(const struct uv_out *out);

/* Bytes that wait to be written. */
size_t uv_out_queued(const struct uv_out *out);

/* Drops what is queued; frees itself after its last close callback. NULL-safe. No waiter is left.
 */
void uv_out_close(struct uv_out *out);
