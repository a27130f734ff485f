/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a round's processes, shared by uv_procs.c (life, orders) and uv_procs_reports.c
 * (what becomes of the workers). Nobody else includes it.
 */
#pragma once

#include "launcher/reaper.h"
#include "launcher/uv_procs.h"

struct uv_procs_worker {
    pid_t pid;              /* 0: not started */
    bool is_ended;          /* `exited` was called */
    bool is_reaped;         /* by this process, with `outcome`: its shepherd was lost */
    struct outcome outcome; /* EXEC_FAILED as soon as that is known */
};

struct uv_procs {
    const struct uv_procs_handlers *handlers; /* borrowed */
    void *arg;                                /* borrowed */
    struct uv_procs_worker *workers;          /* owned */
    struct uv_output *output;                 /* owned */
    uint32_t count;
    uint32_t accounted; /* workers that were started, or could not be */
    struct uv_procs_loss unbound;
    struct uv_procs_loss unlimited;
    struct reaper_client children; /* its `shepherd` is 0 once that is reaped */
    int control_fd;
    int exec_fd;
    uv_poll_t control_poll;
    uv_poll_t exec_poll;
    uv_signal_t sigchld;
    uv_timer_t lost_timer;
    uint32_t open_handles;
    uint64_t signals_tree; /* orders not sent yet, bit signo - 1 */
    uint64_t signals_leaders;
    bool has_kill_order;
    bool is_control_over; /* the shepherd's end of the socket is closed */
    bool is_gone_told;    /* by the shepherd */
    bool is_running_told;
    bool is_finished; /* `gone` was called */
    bool is_closing;
    uint64_t lost_pause_ms; /* 0: the shepherd is not lost */
    uint64_t lost_report_ms;
};

/*
 * After a call of a handler the round may be closing: whatever calls one is followed by a look at
 * is_closing. The memory stays until the loop comes to the close callbacks. Each of these may.
 */

/* Take what is in the control socket. */
void uv_procs_read_reports(struct uv_procs *p);

/* Every exec has been done or has failed, or the pipe that tells is not of use any more. */
void uv_procs_tell_running(struct uv_procs *p);

/* The shepherd has been reaped: what it reported comes first, then the question what is left. */
void uv_procs_shepherd_ended(struct uv_procs *p);

/* ---- no handler is called by these ---- */

/* Take what failing workers wrote. Returns true at the end: every exec was done or failed. */
bool uv_procs_read_exec_failures(struct uv_procs *p);

/* For the reaper; the handlers are called from uv_procs_shepherd_ended(). */
void uv_procs_reaped(void *arg, pid_t pid, int status);
