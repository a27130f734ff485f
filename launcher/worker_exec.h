/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker's process does between the fork and its program. System calls only.
 */
#pragma once

#include "launcher/worker_command.h"
#include "muster/outcome.h"

#include <stdint.h>
#include <sys/types.h>

/* Why a worker's program does not run: written whole to the exec pipe. */
struct worker_exec_failure {
    uint32_t local_rank;
    uint32_t stage; /* enum outcome_stage, or enum worker_exec_loss */
    int32_t code;   /* errno */
};

/* What may fail and does not keep the worker from running. */
enum worker_exec_loss {
    WORKER_EXEC_UNBOUND = OUTCOME_STAGE_LAST + 1, /* it was not bound to its CPUs */
    WORKER_EXEC_UNLIMITED,                        /* a resource limit could not be set */
};

struct worker_exec_context {
    pid_t parent; /* the process that forked: whose death kills this one */
    uint32_t local_rank;
    int stdout_fd; /* becomes descriptor 1; -1: the parent's stays */
    int stderr_fd; /* becomes descriptor 2; likewise */
    int exec_fd;   /* write end of the exec pipe, close-on-exec */
};

/*
 * Make this process the worker: a session of its own, tied to its parent's life, its output to
 * stdout_fd and stderr_fd, no signal blocked, the limit on descriptors as muster found it, bound to
 * the command's CPUs, with its resource limits; then execute the command. All other descriptors
 * above 2 must be close-on-exec and all dispositions default already. What fails is written to
 * exec_fd.
 */
void worker_exec(const struct worker_exec_context *context, const struct worker_command *command)
    __attribute__((noreturn));
