/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/shepherd.h"

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

enum {
    MAX_TREE = 16384,      /* descendants looked at in one pass; a kill makes many passes */
    KILL_PAUSE_MIN_MS = 1, /* between two passes of a kill: doubles up to ... */
    KILL_PAUSE_MAX_MS = 1000,
    KILL_REPORT_MS = 500, /* what a kill left after this long is reported, then each second */
};

/* Made before the fork, so that the shepherd allocates nothing. */
struct shepherd {
    const struct shepherd_spec *spec;
    pid_t agent_pgrp;
    pid_t pid;
    int signal_fd;
    pid_t *pids;   /* by local rank; 0: not started, or reaped */
    int *keep_fds; /* ascending */
    size_t keep_count;
    struct proc_stat *tree; /* MAX_TREE */
    pid_t *groups;          /* MAX_TREE; groups signalled in this pass */
    uint32_t live;          /* workers that have not been reaped */
    bool has_agent;
    bool is_killing;
    bool is_leftover_told;
    int64_t kill_at_ms; /* next pass */
    int64_t kill_pause_ms;
    int64_t kill_report_ms; /* next report */
};

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
    *s = (struct shepherd){.spec = spec, .agent_pgrp = getpgrp(), .has_agent = true};
    s->pids = mu_calloc(spec->count, sizeof(*s->pids));
    s->keep_fds = mu_calloc(2 * (size_t)spec->count + 2, sizeof(*s->keep_fds));
    /* Large enough to be mapped, never touched here: costs the agent nothing. */
    s->tree = mu_calloc(MAX_TREE, sizeof(*s->tree));
    s->groups = mu_calloc(MAX_TREE, sizeof(*s->groups));
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

/*
 * Blocking is right: orders come from the agent only, so while it does not read there is nothing
 * else to do, and its death ends the call.
 */
static void report(const struct shepherd *s, const struct shepherd_report *r)
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
        report(s, &r);
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
        report(s, &r);
        for (; i < spec->count; i++) {
            close_output(spec, i);
        }
    }
    close(spec->exec_fd);
    /* Whoever waits for the end of our standard output waits for the workers, not for us. */
    close_span(STDIN_FILENO, STDERR_FILENO);
}

static size_t look(struct shepherd *s)
{
    return proc_tree_descendants(s->pid, PROC_TREE_AUTO, s->tree, MAX_TREE);
}

static bool is_live_worker(const struct shepherd *s, pid_t pid)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        if (s->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

/*
 * signo once to each process group of the tree: the workers' at once, those that descendants made
 * as /proc shows them. Kill by group first: the kernel lets no member fork its way out of that.
 */
static size_t signal_tree(struct shepherd *s, int signo)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        /* Unreaped, so the number is still its own. No group yet: it is about to call setsid. */
        if (s->pids[i] > 0 && kill(-s->pids[i], signo) != 0) {
            kill(s->pids[i], signo);
        }
    }
    size_t count = look(s);
    size_t groups = 0;
    for (size_t i = 0; i < count; i++) {
        pid_t group = s->tree[i].pgrp;
        bool is_done =
            group <= 1 || group == s->pid || group == s->agent_pgrp || is_live_worker(s, group);
        for (size_t k = 0; !is_done && k < groups; k++) {
            is_done = s->groups[k] == group;
        }
        if (!is_done) {
            s->groups[groups++] = group;
            kill(-group, signo);
        }
    }
    return count;
}

/* A stopped process gets its SIGTERM only when it runs again. */
static void order_signal_tree(struct shepherd *s, int signo)
{
    size_t count = signal_tree(s, signo);
    bool is_stop = signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU;
    for (size_t i = 0; !is_stop && i < count; i++) {
        if (s->tree[i].state == 'T') {
            kill(s->tree[i].pid, SIGCONT);
        }
    }
}

static void order_signal_leaders(const struct shepherd *s, int signo)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        if (s->pids[i] > 0) {
            kill(s->pids[i], signo);
        }
    }
}

/*
 * The pid came from a worker, by way of the agent: it may be anybody's by now. One of the tree it
 * is for certain only here, where its end would have been seen.
 */
static void order_signal_process(struct shepherd *s, pid_t pid, int signo)
{
    bool is_ours = is_live_worker(s, pid);
    size_t count = is_ours ? 0 : look(s);
    for (size_t i = 0; i < count; i++) {
        is_ours = is_ours || s->tree[i].pid == pid;
    }
    if (is_ours && pid > 1) {
        kill(pid, signo);
    }
}

/* Returns false, and reports nothing, if /proc shows nobody and `is_certain` is not set. */
static bool report_leftover(struct shepherd *s, bool is_certain)
{
    size_t count = look(s);
    struct shepherd_report r = {.kind = SHEPHERD_LEFTOVER, .value = s->is_killing};
    for (size_t i = count; i-- > 0;) {
        if (proc_tree_is_alive(&s->tree[i])) {
            r.first = s->tree[i];
            r.count++;
        }
    }
    if (r.count == 0 && !is_certain) {
        return false;
    }
    r.count = r.count > 0 ? r.count : 1;
    report(s, &r);
    return true;
}

static void order_kill(struct shepherd *s)
{
    if (!s->is_killing) {
        s->is_killing = true;
        s->kill_at_ms = mu_clock_ms();
        s->kill_pause_ms = KILL_PAUSE_MIN_MS;
        s->kill_report_ms = s->kill_at_ms + KILL_REPORT_MS;
    }
}

/* One pass of a kill, if one is due. */
static void kill_pass(struct shepherd *s)
{
    int64_t now = mu_clock_ms();
    if (now < s->kill_at_ms) {
        return;
    }
    size_t count = signal_tree(s, SIGKILL);
    for (size_t i = 0; i < count; i++) {
        kill(s->tree[i].pid, SIGKILL);
    }
    s->kill_at_ms = mu_clock_ms() + s->kill_pause_ms;
    if (s->kill_pause_ms < KILL_PAUSE_MAX_MS) {
        s->kill_pause_ms *= 2;
    }
    if (now >= s->kill_report_ms) {
        report_leftover(s, true);
        s->kill_report_ms = now + KILL_PAUSE_MAX_MS;
    }
}

static void lose_agent(struct shepherd *s)
{
    s->has_agent = false;
    order_kill(s);
}

static void take_orders(struct shepherd *s)
{
    struct shepherd_order order;
    ssize_t n = recv(s->spec->control_fd, &order, sizeof(order), MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (n != (ssize_t)sizeof(order)) {
        lose_agent(s);
        return;
    }
    switch (order.kind) {
    case SHEPHERD_SIGNAL_TREE:
        order_signal_tree(s, order.signo);
        break;
    case SHEPHERD_SIGNAL_LEADERS:
        order_signal_leaders(s, order.signo);
        break;
    case SHEPHERD_SIGNAL_PROCESS:
        order_signal_process(s, order.pid, order.signo);
        break;
    case SHEPHERD_KILL:
        order_kill(s);
        break;
    }
}

static void note_exit(struct shepherd *s, pid_t pid, int status)
{
    for (uint32_t i = 0; i < s->spec->count; i++) {
        if (s->pids[i] == pid) {
            s->pids[i] = 0;
            s->live--;
            struct shepherd_report r = {.kind = SHEPHERD_EXITED, .rank = i, .value = status};
            report(s, &r);
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
    if (!s->is_killing) {
        return -1;
    }
    int64_t left = s->kill_at_ms - mu_clock_ms();
    return left > 0 ? (int)left : 0;
}

static void serve(struct shepherd *s)
{
    bool is_certain = false; /* there is a child that is no zombie, although /proc shows none */
    while (reap(s)) {
        if (s->live == 0 && !s->is_leftover_told && !s->is_killing) {
            s->is_leftover_told = report_leftover(s, is_certain);
            is_certain = true;
            continue; /* what was there may have ended meanwhile */
        }
        if (s->is_killing) {
            kill_pass(s);
        }
        struct pollfd fds[] = {
            {.fd = s->signal_fd, .events = POLLIN},
            {.fd = s->has_agent ? s->spec->control_fd : -1, .events = POLLIN},
        };
        if (poll(fds, 2, poll_timeout(s)) <= 0) {
            continue;
        }
        if (fds[0].revents != 0) {
            struct signalfd_siginfo ignored[16]; /* reap() looks itself */
            ssize_t n = read(s->signal_fd, ignored, sizeof(ignored));
            (void)n;
        }
        if (fds[1].revents != 0) {
            take_orders(s);
        }
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
    report(s, &r);
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
