/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a worker failed, in kinds, and how much that says about whose fault it was.
 *
 * A job that loses one worker loses many: its peers die of a closed connection, a timeout, or the
 * order to stop, and any of these may be heard of first. So every failure carries a blame, and the
 * first of its own doing is the culprit, whatever came before it in the same round.
 *
 * Kinds and blames travel in the control protocol and in JSON: numbers and names never change.
 * Threading: any.
 */
#pragma once

#include "muster/outcome.h"

/* C(number, ENUM, name in JSON, what people read) */
#define CAUSE_KINDS(C)                                              \
    C(0, UNKNOWN, "unknown", "unknown cause")                       \
    C(1, EXIT, "exit", "exit status")                               \
    C(2, SIGNAL, "signal", "signal")                                \
    C(3, OOM_KILL, "oom_kill", "killed for want of memory")         \
    C(4, EXEC, "exec", "not executed")                              \
    C(5, EXCEPTION, "exception", "exception")                       \
    C(6, THREAD_EXCEPTION, "thread_exception", "exception")         \
    C(7, IMPORT, "import", "failed import")                         \
    C(8, SYNTAX, "syntax", "syntax error")                          \
    C(9, INTERRUPT, "interrupt", "interrupted")                     \
    C(10, ABORT, "abort", "aborted")                                \
    C(11, SEGFAULT, "segfault", "segmentation fault")               \
    C(12, STACK_OVERFLOW, "stack_overflow", "stack overflow")       \
    C(13, BUS_ERROR, "bus_error", "bus error")                      \
    C(14, SHM_FULL, "shm_full", "out of shared memory")             \
    C(15, HOST_MEMORY, "host_memory", "out of memory")              \
    C(16, CUDA_OOM, "cuda_oom", "out of GPU memory")                \
    C(17, CUDA_ERROR, "cuda_error", "CUDA error")                   \
    C(18, NCCL_ERROR, "nccl_error", "NCCL error")                   \
    C(19, DISK_FULL, "disk_full", "out of disk space")              \
    C(20, OPEN_FILES, "open_files", "out of file descriptors")      \
    C(21, PERMISSION, "permission", "permission denied")            \
    C(22, ADDRESS_IN_USE, "address_in_use", "address in use")       \
    C(23, PEER_LOST, "peer_lost", "connection to a peer lost")      \
    C(24, STORE_LOST, "store_lost", "connection to the store lost") \
    C(25, TIMEOUT, "timeout", "collective timed out")               \
    C(26, STOPPED, "stopped", "stopped")                            \
    C(27, NODE_LOST, "node_lost", "node lost")                      \
    C(28, TIMER, "timer", "file timer ran out")

enum cause_kind {
#define C(number, NAME, name, phrase) CAUSE_##NAME = number,
    CAUSE_KINDS(C)
#undef C
};
enum { CAUSE_KIND_LAST = CAUSE_TIMER, CAUSE_KIND_COUNT };

enum cause_blame {
    CAUSE_OWN = 0,        /* of its own doing, as far as can be seen */
    CAUSE_COLLATERAL = 1, /* a consequence of somebody else's failure */
    CAUSE_ORDERED = 2,    /* it was told to stop, and did */
};
enum { CAUSE_BLAME_LAST = CAUSE_ORDERED };

/* "oom_kill"; "unknown" for a number that is no kind. */
const char *cause_kind_name(enum cause_kind kind);

/* "connection to a peer lost" */
const char *cause_kind_phrase(enum cause_kind kind);

/* "own", "collateral", "ordered". */
const char *cause_blame_name(enum cause_blame blame);

/* Do processes die of this when another one fails: a closed connection, a timeout? */
bool cause_is_consequence(enum cause_kind kind);

/* What the agent had done to a worker before it ended. */
struct cause_stop {
    int signo;       /* the last stop signal it was sent; 0: none */
    bool is_killed;  /* SIGKILL was sent too */
    bool had_failed; /* it had said what failed (a traceback, an error file) before any of that */
};

/* Whose doing is the end of a worker that failed for this reason? Not for a success. */
enum cause_blame cause_blame_of(enum cause_kind kind, struct outcome o, struct cause_stop stop);
