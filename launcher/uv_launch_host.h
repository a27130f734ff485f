/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh process of one host, and its three streams. Until muster answers there, its output is
 * kept for a message; then it is relayed.
 *
 * It is in a session of its own: a Ctrl-C at the terminal must reach the job once, by way of the
 * engine, and cannot be allowed to cut the connection.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/uv_capture.h"
#include "muster/buf.h"
#include "muster/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct uv_launch_host;

/* Called from the loop. */
struct uv_launch_handlers {
    void (*hello)(void *arg, size_t host); /* muster has answered */
    /* The process has ended and all it wrote is relayed. */
    void (*ended)(void *arg, size_t host, int exit_status, int signo);
};

struct uv_launch_sinks {
    struct uv_out *consoles[2]; /* borrowed; for standard output and error */
    struct mu_buf *scratch;     /* borrowed; empty between calls */
};

struct uv_launch_host *uv_launch_host_new(uv_loop_t *loop, size_t index,
                                          const struct uv_launch_sinks *sinks,
                                          const struct uv_launch_handlers *handlers, void *arg);

/* Execute `argv` (searched on PATH). MU_E_SYSTEM: no handler is called then. */
int uv_launch_host_start(struct uv_launch_host *h, char **argv, struct mu_err *err);

/* Write to its standard input. A copy is made; a process that is gone shows by its end. */
void uv_launch_host_send(struct uv_launch_host *h, const void *data, size_t len);

void uv_launch_host_kill(struct uv_launch_host *h);

/* The end of what it said on standard error before muster answered. */
struct mu_slice uv_launch_host_said(const struct uv_launch_host *h);

/* Frees itself after its last close callback. NULL-safe. No handler is called any more. */
void uv_launch_host_close(struct uv_launch_host *h);
