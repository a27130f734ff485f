/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end of what `muster run --launch` holds: a stream on which each byte is the number of
 * a signal for this process, and whose end means that whoever started it is gone, or the connection
 * to it: then the job ends as if SIGTERM had come.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/err.h"

#include <uv.h>

struct uv_leash;

/* Watch `fd`, which is borrowed. It keeps no loop running. NULL and MU_E_SYSTEM on failure. */
struct uv_leash *uv_leash_open(uv_loop_t *loop, int fd, struct mu_err *err);

/* Frees itself after its close callback. NULL-safe. */
void uv_leash_close(struct uv_leash *leash);
