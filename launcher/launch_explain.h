/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why ssh did not bring a muster to life on a host, from how it ended and what it said. Pure.
 * Threading: any.
 */
#pragma once

#include "muster/buf.h"

struct launch_end {
    const char *host;
    const char *ssh;      /* the program: "ssh" */
    const char *muster;   /* the path that it was to execute there */
    int exit_status;      /* of ssh */
    int signo;            /* 0: it exited */
    struct mu_slice said; /* on its standard error, the end of it */
};

/* A sentence: what happened on which host, and what to do. Owned by the caller. */
char *launch_explain(const struct launch_end *end);
