/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/shepherd_impl.h"

#include "launcher/worker_exec.h"
#include "muster/clock.h"
#include "muster/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/*
 * Without the fork handlers of libraries: libuv's makes new pipes in every child.
 *
 * Not vfork(): it would save about 50 us a worker (8 workers: 1.02 times a bare fork + exec loop
 * instead of 1.16), but the shepherd would stand still until each exec is done. On a file system
 * that hangs that is for ever, and neither the agent's orders nor its death would be noticed.
 */
static pid_t fork_plainly(void)
{
#if __GLIBC_PREREQ(2, 34)
    return _Fork();
#else
    return fork();
#endif
}

/* ---- before the fork ---- */

static int compare_ints(const void *a, const void *b)
{
    const int *x = a;
    const int *y = b;
    return (*x > *y) - (*x < *y);
}

static void keep_fd(struct shepherd *s, int fd)
{
    if (fd >= 0) {
        s->keep_fds[s->keep_count++] = fd;
    }
}

static void shepherd_init(struct shepherd *s, const struct shepherd_spec *spec)
{
    *s = (struct shepherd){
        .spec = spec, .agent_pgrp = getpgrp(), .has_agent = true, .lease_ms = INT64_MAX};
    s->pids = mu_calloc(spec->count, sizeof(*s->pids));
    s->keep_fds = mu_calloc(2 * (size_t)spec->count + 2, sizeof(*s->keep_fds));
    /* Large enough to be mapped, never touched here: costs the agent nothing. */
    s->tree = mu_calloc(SHEPHERD_MAX_TREE, sizeof(*s->tree));
    s->groups = mu_calloc(SHEPHERD_MAX_TREE, sizeof(*s->groups));
    for (uint32_t i = 0; i < spec->count; i++) {
        keep_fd(s, spec->stdout_fds[i]);
        keep_fd(s, spec->stderr_fds[i]);
    }
    keep_fd(s, spec->control_fd);
    keep_fd(s, spec->exec_fd);
    qsort(s->keep_fds, s->keep_count, sizeof(*s->keep_fds), compare_ints);
}

static void shepherd_fini(struct shepherd *s)
{
    free(s->pids);
    free(s->keep_fds);
    free(s->tree);
    free(s->groups);
}

/* ---- in the shepherd: system calls only ---- */

static void close_span(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0) {
        return;
    }
    struct rlimit limit = {0}; /* a kernel before 5.9 */
    getrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++) {
        close((int)fd);
    }
}

static void close_foreign_fds(const struct shepherd *s)
{
    unsigned next = STDERR_FILENO + 1;
    for (size_t i = 0; i < s->keep_count; i++) {
        close_span(next, (unsigned)s->keep_fds[i] - 1);
        next = (unsigned)s->keep_fds[i] + 1;
    }
    close_span(next, ~0U);
}

void shepherd_send_report(const struct shepherd *s, const struct shepherd_report *r)
{
    while (s->has_agent && send(s->spec->control_fd, r, sizeof(*r), MSG_NOSIGNAL) < 0 &&
           errno == EINTR) {
    }
}

static void report_started(const struct shepherd *s, uint32_t started)
{
    for (uint32_t first = 0; first < started; first += SHEPHERD_PIDS_PER_REPORT) {
        struct shepherd_report r = {.kind = SHEPHERD_STARTED, .rank = first};
        for (; r.count < SHEPHERD_PIDS_PER_REPORT && first + r.count < started; r.count++) {
            r.pids[r.count] = s->pids[first + r.count];
        }
        shepherd_send_report(s, &r);
    }
}

static void close_output(const struct shepherd_spec *spec, uint32_t rank)
{
    const int fds[] = {spec->stdout_fds[rank], spec->stderr_fds[rank]};
    for (size_t i = 0; i < MU_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static void fork_workers(struct shepherd *s)
{
    const struct shepherd_spec *spec = s->spec;
    uint32_t i;
    int failure = 0;
    for (i = 0; i < spec->count; i++) {
        struct worker_exec_context context = {
            .parent = s->pid,
            .local_rank = i,
            .stdout_fd = spec->stdout_fds[i],
            .stderr_fd = spec->stderr_fds[i],
            .exec_fd = spec->exec_fd,
        };
        pid_t pid = fork_plainly();
        if (pid == 0) {
            worker_exec(&context, &spec->workers[i]);
        }
        if (pid < 0) {
            failure = errno;
            break;
        }
        s->pids[i] = pid;
        close_output(spec, i); /* its end is the worker's end */
    }
    s->live = i;
    report_started(s, i);
    if (i < spec->count) {
        struct shepherd_report r = {.kind = SHEPHERD_NOT_STARTED, .rank = i, .value = failure};
        shepherd_send_report(s, &r);
        for (; i < spec->count; i++) {
            close_output(spec, i);
        }
    }
    close(spec->exec_fd);
    /* Whoever waits for the end of our standard output waits for the workers, not for us. */
    close_span(STDIN_FILENO, STDERR_FILENO);
}

static void note_exit(struct shepherd *s, pid_t pid, int status)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        if (s->pids[i] == pid) {
            s->pids[i] = 0;
            s->live--;
            struct shepherd_report r = {.kind = SHEPHERD_EXITED, .rank = i, .value = status};
            shepherd_send_report(s, &r);
            return;
        }
    }
}

/* Reap whatever ended. Returns false when no child is left, alive or dead. */
static bool reap(struct shepherd *s)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
        if (pid > 0) {
            note_exit(s, pid, status);
        } else if (pid == 0) {
            return true;
        } else if (errno != EINTR) {
            return false;
        }
    }
}

static int poll_timeout(const struct shepherd *s)
{
    int64_t at = s->is_killing ? s->kill_at_ms : s->lease_ms;
    if (at == INT64_MAX) {
        return -1;
    }
    int64_t left = at - mu_clock_ms();
    return left <= 0 ? 0 : left < INT32_MAX ? (int)left : INT32_MAX;
}

static void serve(struct shepherd *s)
{
    bool is_certain = false; /* there is a child that is no zombie, although /proc shows none */
    while (reap(s)) {
        if (s->live == 0 && !s->is_leftover_told && !s->is_killing) {
            s->is_leftover_told = shepherd_report_leftover(s, is_certain);
            is_certain = true;
            continue; /* what was there may have ended meanwhile */
        }
        if (s->is_killing) {
            shepherd_kill_pass(s);
        }
        struct pollfd fds[] = {
            {.fd = s->signal_fd, .events = POLLIN},
            {.fd = s->has_agent ? s->spec->control_fd : -1, .events = POLLIN},
        };
        if (poll(fds, 2, poll_timeout(s)) <= 0) {
            shepherd_check_lease(s);
            continue;
        }
        if (fds[0].revents != 0) {
            struct signalfd_siginfo ignored[16]; /* reap() looks itself */
            ssize_t n = read(s->signal_fd, ignored, sizeof(ignored));
            (void)n;
        }
        if (fds[1].revents != 0) {
            shepherd_take_orders(s);
        }
        shepherd_check_lease(s); /* after the orders: another one may have waited there */
    }
}

static void shepherd_main(struct shepherd *s) __attribute__((noreturn));
static void shepherd_main(struct shepherd *s)
{
    close_foreign_fds(s);
    s->pid = getpid();
    setsid();
    prctl(PR_SET_NAME, SHEPHERD_NAME);
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    /* All signals stay blocked here; the workers inherit the dispositions and clear the mask. */
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        signal(signo, SIG_DFL);
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0) {
        _exit(1); /* the agent sees the end of the socket; no worker exists yet */
    }
    fork_workers(s);
    serve(s);
    struct shepherd_report r = {.kind = SHEPHERD_GONE};
    shepherd_send_report(s, &r);
    _exit(0);
}

pid_t shepherd_fork(const struct shepherd_spec *spec, struct mu_err *err)
{
    struct shepherd s;
    shepherd_init(&s, spec);
    /* No handler of the agent may run in the shepherd: libuv's would write to the agent's pipe. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork_plainly();
    int failure = errno;
    if (pid == 0) {
        shepherd_main(&s);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    shepherd_fini(&s);
    if (pid < 0) {
        return mu_err_set(err, MU_E_SYSTEM, failure, "fork");
    }
    return pid;
}
