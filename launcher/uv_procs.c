/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_procs_impl.h"

#include "launcher/procs_pipes.h"
#include "launcher/shepherd.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- orders to the shepherd ---- */

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

/* ---- events ---- */

static void on_sigchld(uv_signal_t *handle, int signo)
{
    struct uv_procs *p = handle->data;
    (void)signo;
    reaper_reap();
    if (p->children.shepherd == 0 && !p->is_closing && !p->is_finished) {
        uv_procs_shepherd_ended(p);
    }
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    struct uv_procs *p = poll->data;
    (void)status; /* an error shows in the recv */
    uv_procs_read_reports(p);
    if ((events & UV_WRITABLE) != 0) {
        send_orders(p);
    }
}

static void on_exec(uv_poll_t *poll, int status, int events)
{
    struct uv_procs *p = poll->data;
    (void)status;
    (void)events;
    if (!uv_procs_read_exec_failures(p)) {
        return;
    }
    uv_poll_stop(&p->exec_poll);
    uv_procs_read_reports(p); /* the pids were sent before the shepherd let go of the pipe */
    if (!p->is_closing) {
        uv_procs_tell_running(p);
    }
}

/* ---- start and close ---- */

static void on_closed(uv_handle_t *handle)
{
    struct uv_procs *p = handle->data;
    if (--p->open_handles > 0) {
        return;
    }
    free(p->workers);
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
    p->children = (struct reaper_client){.shepherd = pid, .fn = uv_procs_reaped, .arg = p};
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
    p->workers = mu_calloc(p->count, sizeof(*p->workers));
    struct procs_pipes pipes = PROCS_PIPES_INIT;
    rc = start(p, spec, &pipes, err);
    procs_pipes_close(&pipes);
    if (rc != 0) {
        uv_procs_close(p);
        return NULL;
    }
    return p;
}

/* ---- what the agent asks for ---- */

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
    return p->workers[local_rank].pid;
}

void uv_procs_kill(struct uv_procs *p)
{
    p->has_kill_order = true;
    send_orders(p);
}

void uv_procs_lease(struct uv_procs *p, int64_t span_ms)
{
    if (!p->is_closing && !p->is_control_over && p->children.shepherd != 0) {
        send_packet(p, &(struct shepherd_order){.kind = SHEPHERD_LEASE, .span_ms = span_ms});
    }
}

pid_t uv_procs_root(const struct uv_procs *p)
{
    return p->children.shepherd;
}

struct uv_procs_loss uv_procs_unbound(const struct uv_procs *p)
{
    return p->unbound;
}

struct uv_procs_loss uv_procs_unlimited(const struct uv_procs *p)
{
    return p->unlimited;
}

size_t uv_procs_stderr_tail(const struct uv_procs *p, uint32_t local_rank, char *buf, size_t size)
{
    MU_REQUIRE(local_rank < p->count);
    return uv_output_stderr_tail(p->output, local_rank, buf, size);
}

size_t uv_procs_stderr_trace(const struct uv_procs *p, uint32_t local_rank, char *buf,
                             uint64_t *ret_start)
{
    MU_REQUIRE(local_rank < p->count);
    return uv_output_stderr_trace(p->output, local_rank, buf, ret_start);
}

uint64_t uv_procs_stderr_total(const struct uv_procs *p, uint32_t local_rank)
{
    MU_REQUIRE(local_rank < p->count);
    return uv_output_stderr_total(p->output, local_rank);
}

const char *uv_procs_stderr_file(const struct uv_procs *p, uint32_t local_rank)
{
    MU_REQUIRE(local_rank < p->count);
    return uv_output_stderr_file(p->output, local_rank);
}
