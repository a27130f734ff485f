/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_procs.h"

#include "launcher/procs_pipes.h"
#include "launcher/reaper.h"
#include "launcher/shepherd.h"
#include "launcher/worker_exec.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    LOST_PAUSE_MIN_MS = 1, /* between two looks for orphans: doubles up to ... */
    LOST_PAUSE_MAX_MS = 1000,
    LOST_REPORT_MS = 500, /* orphans that live longer than this are reported */
};

struct proc {
    pid_t pid;              /* 0: not started */
    bool is_ended;          /* `exited` was called */
    bool is_reaped;         /* by this process, with `outcome`: its shepherd was lost */
    struct outcome outcome; /* EXEC_FAILED as soon as that is known */
};

struct uv_procs {
    const struct uv_procs_handlers *handlers; /* borrowed */
    void *arg;                                /* borrowed */
    struct proc *procs;                       /* owned */
    struct uv_output *output;                 /* owned */
    uint32_t count;
    uint32_t accounted;            /* workers that were started, or could not be */
    uint32_t unbound;              /* workers that run, but not bound to their CPUs */
    int32_t unbound_code;          /* errno of one of them */
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

static struct outcome outcome_of_wait(int status)
{
    if (WIFEXITED(status)) {
        return (struct outcome){.kind = OUTCOME_EXITED, .code = WEXITSTATUS(status)};
    }
    if (WIFSIGNALED(status)) {
        return (struct outcome){
            .kind = OUTCOME_SIGNALED, .code = WTERMSIG(status), .core_dumped = WCOREDUMP(status)};
    }
    return (struct outcome){.kind = OUTCOME_UNKNOWN};
}

/*
 * After a call of a handler the round may be closing: everything below that calls one is followed
 * by a look at is_closing. The memory stays until the loop comes to the close callbacks.
 */
static void end_worker(struct uv_procs *p, uint32_t rank, struct outcome o)
{
    struct proc *w = &p->procs[rank];
    if (w->is_ended || p->is_closing) {
        return;
    }
    uv_output_drain(p->output, rank);
    w->is_ended = true;
    w->outcome = w->outcome.kind == OUTCOME_EXEC_FAILED ? w->outcome : o;
    p->handlers->exited(p->arg, rank, w->outcome);
}

static void tell_running(struct uv_procs *p)
{
    uv_poll_stop(&p->exec_poll);
    if (!p->is_running_told && !p->is_closing && p->accounted == p->count) {
        p->is_running_told = true;
        p->handlers->running(p->arg);
    }
}

static void finish(struct uv_procs *p)
{
    tell_running(p);
    if (p->is_closing) {
        return;
    }
    p->is_finished = true;
    for (uint32_t i = 0; i < p->count; i++) {
        uv_output_drain(p->output, i);
    }
    uv_signal_stop(&p->sigchld);
    uv_timer_stop(&p->lost_timer);
    p->handlers->gone(p->arg);
}

/* ---- the exec pipe ---- */

/* Take what failing workers wrote. Returns true at the end: every exec was done or failed. */
static bool read_exec_failures(struct uv_procs *p)
{
    struct worker_exec_failure failure;
    for (;;) {
        ssize_t n = read(p->exec_fd, &failure, sizeof(failure));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n != (ssize_t)sizeof(failure)) {
            return n == 0;
        }
        MU_REQUIRE(failure.local_rank < p->count);
        if (failure.stage == WORKER_EXEC_UNBOUND) {
            p->unbound++;
            p->unbound_code = failure.code;
            continue;
        }
        p->procs[failure.local_rank].outcome =
            (struct outcome){.kind = OUTCOME_EXEC_FAILED,
                             .stage = (enum outcome_stage)failure.stage,
                             .code = failure.code};
    }
}

/* ---- the control socket ---- */

static void take_leftover(struct uv_procs *p, uint32_t count, const struct proc_stat *first,
                          bool is_after_kill)
{
    struct uv_procs_leftover left = {
        .count = count, .pid = first->pid, .state = first->state, .is_after_kill = is_after_kill};
    memcpy(left.comm, first->comm, sizeof(left.comm));
    p->handlers->leftover(p->arg, &left);
}

static void take_report(struct uv_procs *p, const struct shepherd_report *r)
{
    MU_REQUIRE(r->rank < p->count);
    switch (r->kind) {
    case SHEPHERD_STARTED:
        MU_REQUIRE(r->count <= SHEPHERD_PIDS_PER_REPORT && r->rank + r->count <= p->count);
        for (uint32_t i = 0; i < r->count && !p->is_closing; i++) {
            p->procs[r->rank + i].pid = r->pids[i];
            p->accounted++;
            p->handlers->started(p->arg, r->rank + i, r->pids[i]);
        }
        break;
    case SHEPHERD_NOT_STARTED:
        for (uint32_t i = r->rank; i < p->count; i++) {
            p->accounted++;
            end_worker(p, i,
                       (struct outcome){.kind = OUTCOME_EXEC_FAILED,
                                        .stage = OUTCOME_STAGE_FORK,
                                        .code = r->value});
        }
        break;
    case SHEPHERD_EXITED:
        read_exec_failures(p); /* written before the exit, so it is there */
        end_worker(p, r->rank, outcome_of_wait(r->value));
        break;
    case SHEPHERD_LEFTOVER:
        take_leftover(p, r->count, &r->first, r->value != 0);
        break;
    case SHEPHERD_GONE:
        p->is_gone_told = true;
        break;
    }
}

static void read_reports(struct uv_procs *p)
{
    struct shepherd_report r;
    while (!p->is_closing && !p->is_control_over) {
        ssize_t n = recv(p->control_fd, &r, sizeof(r), MSG_DONTWAIT);
        if (n == (ssize_t)sizeof(r)) {
            take_report(p, &r);
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else if (n >= 0 || errno != EINTR) {
            p->is_control_over = true;
            uv_poll_stop(&p->control_poll);
        }
    }
}

static void on_control(uv_poll_t *poll, int status, int events);

static bool send_packet(struct uv_procs *p, const struct shepherd_order *order)
{
    ssize_t n;
    do {
        n = send(p->control_fd, order, sizeof(*order), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n >= 0 || errno != EAGAIN; /* with the shepherd dead the order is moot */
}

static bool send_order(struct uv_procs *p, enum shepherd_order_kind kind, int signo)
{
    return send_packet(p, &(struct shepherd_order){.kind = kind, .signo = signo});
}

/* What does not fit into the socket now is sent when it does; a signal pends at most once. */
static void send_orders(struct uv_procs *p)
{
    if (p->is_closing || p->is_control_over || p->children.shepherd == 0) {
        return;
    }
    /* Whoever stopped the shepherd must not save the tree from its orders. */
    kill(p->children.shepherd, SIGCONT);
    bool is_sent = true;
    for (int signo = 1; signo <= 64 && is_sent; signo++) {
        uint64_t bit = UINT64_C(1) << (signo - 1);
        if ((p->signals_tree & bit) != 0) {
            is_sent = send_order(p, SHEPHERD_SIGNAL_TREE, signo);
            p->signals_tree &= is_sent ? ~bit : ~UINT64_C(0);
        }
        if (is_sent && (p->signals_leaders & bit) != 0) {
            is_sent = send_order(p, SHEPHERD_SIGNAL_LEADERS, signo);
            p->signals_leaders &= is_sent ? ~bit : ~UINT64_C(0);
        }
    }
    if (is_sent && p->has_kill_order) {
        is_sent = send_order(p, SHEPHERD_KILL, SIGKILL);
        p->has_kill_order = !is_sent;
    }
    uv_poll_start(&p->control_poll, is_sent ? UV_READABLE : UV_READABLE | UV_WRITABLE, on_control);
}

/* ---- a shepherd that was killed ---- */

static void on_lost_timer(uv_timer_t *timer);

static void look_for_orphans(struct uv_procs *p)
{
    reaper_reap();
    for (uint32_t i = 0; i < p->count; i++) {
        if (p->procs[i].is_reaped) {
            end_worker(p, i, p->procs[i].outcome);
        }
    }
    struct proc_stat first;
    size_t orphans = p->is_closing ? 0 : reaper_kill_orphans(&first);
    if (p->is_closing) {
        return;
    }
    if (orphans == 0) {
        for (uint32_t i = 0; i < p->count; i++) {
            end_worker(p, i, (struct outcome){.kind = OUTCOME_UNKNOWN});
        }
        if (!p->is_closing) {
            finish(p);
        }
        return;
    }
    uint64_t now = uv_now(p->sigchld.loop);
    uv_timer_start(&p->lost_timer, on_lost_timer, p->lost_pause_ms, 0);
    p->lost_pause_ms *= p->lost_pause_ms < LOST_PAUSE_MAX_MS ? 2 : 1;
    if (now >= p->lost_report_ms) {
        p->lost_report_ms = now + LOST_PAUSE_MAX_MS;
        take_leftover(p, (uint32_t)orphans, &first, true);
    }
}

static void on_lost_timer(uv_timer_t *timer)
{
    look_for_orphans(timer->data);
}

/* ---- events ---- */

/* The shepherd has been reaped: what it reported comes first, then the question what is left. */
static void on_shepherd_end(struct uv_procs *p)
{
    read_reports(p);
    if (p->is_closing || p->is_finished) {
        return;
    }
    if (p->is_gone_told) {
        finish(p);
        return;
    }
    if (p->lost_pause_ms == 0) {
        p->lost_pause_ms = LOST_PAUSE_MIN_MS;
        p->lost_report_ms = uv_now(p->sigchld.loop) + LOST_REPORT_MS;
        read_exec_failures(p);
    }
    look_for_orphans(p);
}

static void on_sigchld(uv_signal_t *handle, int signo)
{
    struct uv_procs *p = handle->data;
    (void)signo;
    reaper_reap();
    if (p->children.shepherd == 0 && !p->is_closing && !p->is_finished) {
        on_shepherd_end(p);
    }
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    struct uv_procs *p = poll->data;
    (void)status; /* an error shows in the recv */
    read_reports(p);
    if ((events & UV_WRITABLE) != 0) {
        send_orders(p);
    }
}

static void on_exec(uv_poll_t *poll, int status, int events)
{
    struct uv_procs *p = poll->data;
    (void)status;
    (void)events;
    if (!read_exec_failures(p)) {
        return;
    }
    uv_poll_stop(&p->exec_poll);
    read_reports(p); /* the pids were sent before the shepherd let go of the pipe */
    if (!p->is_closing) {
        tell_running(p);
    }
}

/* From the reaper: note only; the handlers are called from on_sigchld(). */
static void on_reaped(void *arg, pid_t pid, int status)
{
    struct uv_procs *p = arg;
    if (pid == p->children.shepherd) {
        p->children.shepherd = 0;
        return;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        struct proc *w = &p->procs[i];
        if (w->pid == pid && !w->is_ended && !w->is_reaped) {
            w->is_reaped = true;
            if (w->outcome.kind != OUTCOME_EXEC_FAILED) {
                w->outcome = outcome_of_wait(status);
            }
            return;
        }
    }
}

/* ---- start and close ---- */

static void on_closed(uv_handle_t *handle)
{
    struct uv_procs *p = handle->data;
    if (--p->open_handles > 0) {
        return;
    }
    free(p->procs);
    free(p);
}

static void close_handle(struct uv_procs *p, uv_handle_t *handle)
{
    p->open_handles++;
    uv_close(handle, on_closed);
}

void uv_procs_close(struct uv_procs *p)
{
    if (p == NULL) {
        return;
    }
    MU_REQUIRE(!p->is_closing);
    p->is_closing = true;
    if (p->is_finished) {
        reaper_remove(&p->children);
    } else {
        reaper_abandon(&p->children);
    }
    close_handle(p, (uv_handle_t *)&p->sigchld);
    close_handle(p, (uv_handle_t *)&p->lost_timer);
    if (p->control_fd >= 0) {
        close_handle(p, (uv_handle_t *)&p->control_poll);
        close(p->control_fd);
    }
    if (p->exec_fd >= 0) {
        close_handle(p, (uv_handle_t *)&p->exec_poll);
        close(p->exec_fd);
    }
    uv_output_close(p->output);
    p->output = NULL;
}

/* Take over one end of a pipe or socket that the loop is to watch. */
static int watch(struct uv_procs *p, uv_poll_t *poll, int *fd_of_pipes, int *ret_fd, uv_poll_cb cb,
                 struct mu_err *err)
{
    int rc = uv_poll_init(p->sigchld.loop, poll, *fd_of_pipes);
    if (rc != 0) {
        return mu_err_set(err, MU_E_SYSTEM, -rc, "watch the workers");
    }
    *ret_fd = *fd_of_pipes;
    *fd_of_pipes = -1;
    poll->data = p;
    uv_poll_start(poll, UV_READABLE, cb);
    return 0;
}

static int watch_pipes(struct uv_procs *p, struct procs_pipes *pipes, struct mu_err *err)
{
    if (watch(p, &p->control_poll, &pipes->control.here, &p->control_fd, on_control, err) != 0 ||
        watch(p, &p->exec_poll, &pipes->exec.here, &p->exec_fd, on_exec, err) != 0) {
        return -1;
    }
    return uv_output_begin(p->output, err);
}

static int start(struct uv_procs *p, const struct uv_procs_spec *spec, struct procs_pipes *pipes,
                 struct mu_err *err)
{
    /* Before the fork, so that no death is missed. */
    int rc = uv_signal_start(&p->sigchld, on_sigchld, SIGCHLD);
    if (rc != 0) {
        return mu_err_set(err, MU_E_SYSTEM, -rc, "watch for SIGCHLD");
    }
    if (procs_pipes_open(pipes, err) != 0) {
        return -1;
    }
    struct shepherd_spec shepherd = {
        .workers = spec->workers,
        .stdout_fds = uv_output_worker_fds(p->output, 0),
        .stderr_fds = uv_output_worker_fds(p->output, 1),
        .count = p->count,
        .control_fd = pipes->control.there,
        .exec_fd = pipes->exec.there,
    };
    reaper_adopt_orphans();
    pid_t pid = shepherd_fork(&shepherd, err);
    if (pid < 0) {
        return -1;
    }
    p->children = (struct reaper_client){.shepherd = pid, .fn = on_reaped, .arg = p};
    reaper_add(&p->children);
    /* While the workers start. Should it fail, the shepherd sees its socket close and clears up. */
    return watch_pipes(p, pipes, err);
}

struct uv_procs *uv_procs_start(uv_loop_t *loop, const struct uv_procs_spec *spec,
                                const struct uv_procs_handlers *handlers, void *arg,
                                struct mu_err *err)
{
    if (spec->count < 1 || spec->count > MU_MAX_LOCAL_WORLD) {
        mu_err_set(err, MU_E_LIMIT, 0, "%zu workers on one node: 1 to %d can be started",
                   spec->count, MU_MAX_LOCAL_WORLD);
        uv_output_close(spec->output);
        return NULL;
    }
    struct uv_procs *p = mu_alloc(sizeof(*p));
    int rc = uv_signal_init(loop, &p->sigchld);
    if (rc != 0) {
        mu_err_set(err, MU_E_SYSTEM, -rc, "watch for SIGCHLD");
        uv_output_close(spec->output);
        free(p);
        return NULL;
    }
    uv_timer_init(loop, &p->lost_timer);
    p->sigchld.data = p;
    p->lost_timer.data = p;
    p->handlers = handlers;
    p->arg = arg;
    p->control_fd = -1;
    p->exec_fd = -1;
    p->count = (uint32_t)spec->count;
    p->output = spec->output;
    p->procs = mu_calloc(p->count, sizeof(*p->procs));
    struct procs_pipes pipes = PROCS_PIPES_INIT;
    rc = start(p, spec, &pipes, err);
    procs_pipes_close(&pipes);
    if (rc != 0) {
        uv_procs_close(p);
        return NULL;
    }
    return p;
}

/* ---- orders ---- */

void uv_procs_signal(struct uv_procs *p, int signo)
{
    MU_REQUIRE(signo >= 1 && signo <= 64);
    p->signals_tree |= UINT64_C(1) << (signo - 1);
    if (signo == SIGCONT) {
        p->signals_tree &= ~(UINT64_C(1) << (SIGSTOP - 1)); /* what waits is sent by number */
    }
    send_orders(p);
}

void uv_procs_pass_signal(struct uv_procs *p, int signo)
{
    MU_REQUIRE(signo >= 1 && signo <= 64);
    p->signals_leaders |= UINT64_C(1) << (signo - 1);
    send_orders(p);
}

void uv_procs_signal_process(struct uv_procs *p, pid_t pid, int signo)
{
    MU_REQUIRE(signo >= 1 && signo <= 64);
    if (!p->is_closing && !p->is_control_over && p->children.shepherd != 0) {
        kill(p->children.shepherd, SIGCONT);
        send_packet(p, &(struct shepherd_order){
                           .kind = SHEPHERD_SIGNAL_PROCESS, .signo = signo, .pid = pid});
    }
}

pid_t uv_procs_pid(const struct uv_procs *p, uint32_t local_rank)
{
    MU_REQUIRE(local_rank < p->count);
    return p->procs[local_rank].pid;
}

void uv_procs_kill(struct uv_procs *p)
{
    p->has_kill_order = true;
    send_orders(p);
}

pid_t uv_procs_root(const struct uv_procs *p)
{
    return p->children.shepherd;
}

uint32_t uv_procs_unbound(const struct uv_procs *p, int *ret_code)
{
    *ret_code = p->unbound_code;
    return p->unbound;
}

size_t uv_procs_stderr_tail(const struct uv_procs *p, uint32_t local_rank, char *buf, size_t size)
{
    MU_REQUIRE(local_rank < p->count);
    return uv_output_stderr_tail(p->output, local_rank, buf, size);
}

uint64_t uv_procs_stderr_total(const struct uv_procs *p, uint32_t local_rank)
{
    MU_REQUIRE(local_rank < p->count);
    return uv_output_stderr_total(p->output, local_rank);
}
