/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port of TORCHELASTIC_HEALTH_CHECK_PORT: whoever asks over HTTP gets "200 OK", whatever the
 * question. The answer comes from the agent's one loop, so that it comes at all says that the agent
 * is alive; how the job is says `muster status`.
 *
 * Nothing is parsed but the end of the header. Connections, their time and the header are bounded.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/err.h"

#include <stdint.h>
#include <uv.h>

struct uv_liveness;

/* Listen on every interface. NULL on failure (MU_E_CONNECT). Owned until uv_liveness_close(). */
struct uv_liveness *uv_liveness_open(uv_loop_t *loop, uint16_t port, struct mu_err *err);

/* Frees itself after its last close callback. NULL-safe. */
void uv_liveness_close(struct uv_liveness *l);
