/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptors between an agent and the shepherd of one round. All are close-on-exec and above
 * 2. Threading: any.
 */
#pragma once

#include "muster/err.h"

struct procs_pipe {
    int here;  /* the agent's end; -1: none, or taken over */
    int there; /* the shepherd's end */
};

struct procs_pipes {
    struct procs_pipe control; /* SOCK_SEQPACKET pair */
    struct procs_pipe exec;    /* pipe, read here without waiting */
};

#define PROCS_PIPES_INIT                        \
    {                                           \
        .control = {-1, -1}, .exec = { -1, -1 } \
    }

/* On failure too, procs_pipes_close() is due. */
int procs_pipes_open(struct procs_pipes *pipes, struct mu_err *err);

/* Close what is there and has not been taken over. */
void procs_pipes_close(struct procs_pipes *pipes);
