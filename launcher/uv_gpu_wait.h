/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a node starts workers again: until the GPU memory of the dead ones is free, or a time is
 * over. Says at notice level that it waits and for whom, and warns who holds it in the end.
 *
 * NVML may block for ever, and so may /proc of a process that hangs, so a thread of this module's
 * own does the looking; what passes between it and the loop are packets on a socket, no memory.
 * libuv's threads will not do: the loop, and exit() too, would wait for one that hangs.
 *
 * Threading: the loop thread only. Callbacks run from the loop, never inside a call of this API.
 */
#pragma once

#include "launcher/host_view.h"
#include "muster/err.h"

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct uv_gpu_wait;

/* The wait is over, one way or the other. May call anything here. */
typedef void (*uv_gpu_wait_fn)(void *arg);

struct uv_gpu_wait_spec {
    const struct host_view *host; /* copied; what it points to is borrowed until the process ends */
    const char *run_path;         /* copied; see gpu_holders_new() */
    int64_t timeout_ms;           /* of a wait; above 0 */
    uv_gpu_wait_fn over;
    void *arg; /* borrowed */
};

/*
 * NULL if there is no thread to be had (MU_E_SYSTEM). Owned by the caller until uv_gpu_wait_close()
 * and then uv_gpu_wait_free().
 */
struct uv_gpu_wait *uv_gpu_wait_new(uv_loop_t *loop, const struct uv_gpu_wait_spec *spec,
                                    struct mu_err *err);

/*
 * The workers of a round run: who they are; pids of 0 are left out. With the first round's, what is
 * in use of the GPUs is looked at, while they have hardly begun.
 */
void uv_gpu_wait_note(struct uv_gpu_wait *w, const pid_t *pids, size_t count);

/*
 * No worker of an earlier round is left: wait. False if NVML did not answer the last time and has
 * not since; else `over` is called once, unless it is cancelled.
 */
bool uv_gpu_wait_start(struct uv_gpu_wait *w);
void uv_gpu_wait_cancel(struct uv_gpu_wait *w); /* NULL-safe; fine if nobody waits */

/* No callback after this. NULL-safe. */
void uv_gpu_wait_close(struct uv_gpu_wait *w);

/*
 * After the loop is closed. NULL-safe. False if the thread hangs in a call that nothing can end:
 * then the process must end by _exit(), for exit() would take NVML down under it.
 */
bool uv_gpu_wait_free(struct uv_gpu_wait *w);
