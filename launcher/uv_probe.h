/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why has a node not come? Looks at the machines of nodes the coordinator in this process waits
 * for, and tells it what it found: whether the name resolves, whether the machine answers. A
 * connection to a port where nobody listens is refused by a machine that is up.
 *
 * At most UV_PROBES_AT_ONCE at a time, every UV_PROBE_EVERY_MS while somebody is missing.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "launcher/hostlist.h"
#include "muster/addr.h"
#include "muster/uv_coordinator.h"

enum { UV_PROBES_AT_ONCE = 16, UV_PROBE_EVERY_MS = 10 * 1000, UV_PROBE_PATIENCE_MS = 3000 };

struct uv_probe;

/* All borrowed; `hosts` are those the coordinator expects, `here` is where it is reached. */
struct uv_probe *uv_probe_new(uv_loop_t *loop, struct coordinator *c, const struct hostlist *hosts,
                              const struct mu_endpoint *here);

/* Somebody is missing: look now, unless that is going on. Stops by itself when nobody is. */
void uv_probe_begin(struct uv_probe *p);

/* Frees itself. NULL is allowed. */
void uv_probe_close(struct uv_probe *p);
