/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address that the coordinator's node wants workers to use (WELCOME.master_addr): does it lead
 * anywhere from here? A connection is made and closed again, beside what else this agent does.
 *
 * Threading: the loop thread only.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct uv_master_addr;

/* `done` is called when an attempt that did not end at once is over. Owned by the caller. */
typedef void (*uv_master_addr_done_fn)(void *arg);
struct uv_master_addr *uv_master_addr_new(uv_loop_t *loop, uv_master_addr_done_fn done, void *arg);

/* Where to, who asks, and what is used if that does not answer; for the warning. All copied. */
struct uv_master_addr_spec {
    struct mu_slice address; /* of WELCOME: whatever the coordinator says */
    uint16_t port;
    const char *node_name;
    const char *known; /* the address by which this agent reached it */
};

/*
 * Try it, for 2 s at most, unless it is the address that was tried last. One that cannot be reached
 * is told of in a warning; one that is no numeric address counts as none.
 */
void uv_master_addr_try(struct uv_master_addr *m, const struct uv_master_addr_spec *spec);

bool uv_master_addr_is_trying(const struct uv_master_addr *m);

/* The address that was tried last, if it answered; else "". */
const char *uv_master_addr_proven(const struct uv_master_addr *m);

/* This node's end of the connection that proved it. */
const char *uv_master_addr_local(const struct uv_master_addr *m);

/* `done` is not called any more; frees itself. NULL is allowed. */
void uv_master_addr_close(struct uv_master_addr *m);
