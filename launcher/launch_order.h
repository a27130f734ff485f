/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `muster run --launch` says to the muster that ssh has started on a host, and how.
 *
 * Only the path of the program is on ssh's command line. The program says LAUNCH_HELLO, a line of
 * its own, on standard output: what stands before it is the login shell's. Then it gets the order
 * on standard input: a frame of four bytes length and the rest, made here. From then on each byte
 * is the number of a signal that is meant for the agent, and the end of the stream is the end of
 * the job. So neither arguments nor variables pass through a shell or are seen in a list of
 * processes, and whatever happens to the connection, the other side notices.
 *
 * Threading: any.
 */
#pragma once

#include "muster/buf.h"
#include "muster/err.h"
#include "muster/version.h"

#include <stddef.h>

/* Both sides are one version. */
#define LAUNCH_HELLO "muster-launch 1 " MUSTER_VERSION

/* The command that ssh starts: `muster launched`. */
#define LAUNCH_COMMAND "launched"

enum {
    LAUNCH_ORDER_HEADER = 4,
    LAUNCH_ORDER_MAX = 64 * 1024 * 1024, /* bytes behind the header */
    LAUNCH_ORDER_WORDS = 1 << 20,
};

struct launch_order {
    char *directory; /* owned; where to run */
    char **args;     /* owned, NULL-terminated; "run" and what follows */
    size_t arg_count;
    char **env; /* owned, NULL-terminated; "NAME=value", on top of what is there */
};

/* Append the frame. MU_E_LIMIT if it would be too long. */
int launch_order_encode(const struct launch_order *order, struct mu_buf *out, struct mu_err *err);

/* The length of the frame behind a header; MU_E_PROTOCOL if it is out of range. */
int launch_order_length(const void *header, size_t *ret_len, struct mu_err *err);

/* What is behind the header. MU_E_PROTOCOL for anything that encode would not make. */
int launch_order_decode(const void *data, size_t len, struct launch_order *ret_order,
                        struct mu_err *err);

void launch_order_fini(struct launch_order *order);
