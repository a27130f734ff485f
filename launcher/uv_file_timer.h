/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipe through which workers set file timers (file_timer.h), and the clock they run by.
 *
 * A FIFO that this module makes, reads and removes. It holds both ends, so clients find a reader
 * at any time and the last one that leaves makes no end of file.
 *
 * Threading: the loop thread only. `expired` runs from the loop, never inside a call of this API.
 */
#pragma once

#include "launcher/file_timer.h"
#include "muster/err.h"

#include <uv.h>

struct uv_file_timer;

typedef void (*uv_file_timer_fn)(void *arg, const struct file_timer_expiry *expiry);

/*
 * Make the FIFO: at `path`, where one that is there already is replaced, anything else is not
 * (MU_E_USAGE); or, if `path` is NULL, at a new name in `tmpdir` (NULL: /tmp). Owned by the caller
 * until uv_file_timer_close().
 */
struct uv_file_timer *uv_file_timer_open(uv_loop_t *loop, const char *path, const char *tmpdir,
                                         uv_file_timer_fn expired, void *arg, struct mu_err *err);

/* What workers are to open; borrowed. */
const char *uv_file_timer_path(const struct uv_file_timer *t);

/* As file_timer_forget(), file_timer_clear() (also of what is still in the pipe), ..._delay(). */
void uv_file_timer_forget(struct uv_file_timer *t, pid_t pid);
void uv_file_timer_clear(struct uv_file_timer *t);
void uv_file_timer_delay(struct uv_file_timer *t, int64_t span_ms);

/* Removes the FIFO; frees itself after its last close callback. NULL-safe. */
void uv_file_timer_close(struct uv_file_timer *t);
