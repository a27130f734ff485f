/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shepherd: the process between the agent and the workers of one round.
 *
 * It forks the workers, is the parent (subreaper) of everything they leave behind, reports how
 * each one ended, and carries out the agent's orders. It ends when nothing of the tree is left.
 * It exists because a process that is killed with SIGKILL cannot clean up: when the agent dies the
 * shepherd sees the end of its control socket and kills the whole tree, daemons included; when the
 * shepherd dies the workers die with it (PR_SET_PDEATHSIG) and the rest falls to the agent, which
 * is a subreaper too.
 *
 * The agent and the shepherd talk over a SOCK_SEQPACKET pair, one struct a packet; both are the
 * same program, so the structs travel as they are. A failed exec is written by the worker itself
 * to the exec pipe (worker_exec.h), before it exits; the end of that pipe says that every exec was
 * done or failed.
 *
 * An agent that stands still (SIGSTOP, swapped out) does not stop its workers when its node is cut
 * off: the shepherd does, when the last lease it was given runs out.
 *
 * Threading: shepherd_fork() from the agent's loop thread.
 */
#pragma once

#include "launcher/proc_tree.h"
#include "launcher/worker_command.h"
#include "muster/err.h"

#include <stdint.h>
#include <sys/types.h>

/* Its name in ps; not "muster...", so that `pkill -9 muster` leaves it to clean up. */
#define SHEPHERD_NAME "shepherd"

enum shepherd_order_kind {
    SHEPHERD_SIGNAL_TREE,    /* signo once to every process group of the tree; wakes the stopped */
    SHEPHERD_SIGNAL_LEADERS, /* signo to the workers' own processes only */
    SHEPHERD_SIGNAL_PROCESS, /* signo to pid, if that is one of the tree */
    SHEPHERD_KILL,           /* SIGKILL to everything until nothing is left */
    SHEPHERD_LEASE,          /* the same after span_ms, unless another one of these comes */
};

struct shepherd_order {
    enum shepherd_order_kind kind;
    int32_t signo;
    pid_t pid;
    int64_t span_ms;
};

enum shepherd_report_kind {
    SHEPHERD_STARTED,     /* pids: of the workers rank, rank + 1, ..., rank + count - 1 */
    SHEPHERD_NOT_STARTED, /* value: errno of the fork; the workers from rank on do not exist */
    SHEPHERD_EXITED,      /* rank; value: wait status */
    SHEPHERD_LEFTOVER,    /* count, first: all workers have ended and these have not; with value 1:
                             a kill has not got rid of these yet */
    SHEPHERD_GONE,        /* no process is left; the shepherd exits */
};

enum { SHEPHERD_PIDS_PER_REPORT = 64 };

struct shepherd_report {
    enum shepherd_report_kind kind;
    uint32_t rank;
    uint32_t count;
    int32_t value;
    union {
        pid_t pids[SHEPHERD_PIDS_PER_REPORT];
        struct proc_stat first; /* pid 0: not known */
    };
};

struct shepherd_spec {
    const struct worker_command *workers; /* borrowed during the call */
    const int *stdout_fds;                /* one a worker, -1: inherited; above 2, close-on-exec */
    const int *stderr_fds;                /* likewise */
    uint32_t count;
    int control_fd; /* the shepherd's end of the socket pair, blocking */
    int exec_fd;    /* write end of the exec pipe */
};

/*
 * Fork the shepherd of a round. The caller keeps its descriptors and closes them after the call.
 * Returns the shepherd's pid, to be reaped by the caller, or -1.
 */
pid_t shepherd_fork(const struct shepherd_spec *spec, struct mu_err *err);
