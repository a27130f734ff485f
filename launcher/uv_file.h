/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log file that is written without ever making the loop wait: a file system that hangs holds up
 * nobody but the stream that is written there. Writes are done by libuv's threads, one at a time
 * for each file; what comes meanwhile is queued.
 *
 * Above a high-water mark uv_file_is_full() asks whoever feeds it to pause (uv_file_wait()). A file
 * that cannot be written (ENOSPC, EFBIG, ...) is not written again: `failed` is called once, and
 * what comes after is counted and dropped.
 *
 * The process ignores SIGXFSZ from uv_file_open() on.
 *
 * Small writes are collected for some milliseconds.
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

struct uv_file;

/* Once, from the loop: the errno that ended writing to `path`. */
typedef void (*uv_file_failed_fn)(void *arg, const char *path, int error);

struct uv_file_spec {
    const char *path; /* created, or emptied */
    size_t high;      /* bytes queued at which it is full */
    uv_file_failed_fn failed;
    void *arg; /* borrowed until the file is closed, its queue written */
};

/* NULL on failure. Owned by the caller until uv_file_close(). */
struct uv_file *uv_file_open(uv_loop_t *loop, const struct uv_file_spec *spec, struct mu_err *err);

/* Write a copy of the bytes, behind all that came before. */
void uv_file_write(struct uv_file *f, const char *data, size_t len);

bool uv_file_is_full(const struct uv_file *f);

/* Have w->fn called when there is room, or nothing is written any more. */
void uv_file_wait(struct uv_file *f, struct uv_waiter *w);

/* Frees itself once everything is written; the loop lives until then. No waiter. NULL-safe. */
void uv_file_close(struct uv_file *f);
