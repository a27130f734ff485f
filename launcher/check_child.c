/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_child.h"

#include "muster/clock.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REAP_TRIES = 50, /* of REAP_PAUSE_MS: who sleeps in the kernel even SIGKILL does not reach */
    REAP_PAUSE_MS = 2,
    CHUNK = 4096,
};

struct check_child {
    pid_t pid;  /* 0: none, or reaped */
    int fds[2]; /* its standard output and error; -1: at the end */
    int64_t deadline_ms;
    struct check_answer answer;
};

/* What the child is to be, for after the fork. */
struct job {
    check_child_fn fn;
    const void *arg;
    const char *const *argv;
    char *const *envp;
};

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/*
 * A group of its own, so that what it starts can be killed too; no handler, ignored signal or
 * descriptor of ours.
 */
__attribute__((noreturn)) static void be_child(const struct job *job, pid_t parent, int out,
                                               int err)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int signo = 1; signo < NSIG; signo++) {
        signal(signo, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (getppid() != parent || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) {
        _exit(127);
    }
    close_range(STDERR_FILENO + 1, ~0U, 0); /* a child that hangs holds no port of ours */
    if (job->fn == NULL) {
        execve(job->argv[0], (char *const *)(void *)job->argv, job->envp);
        _exit(127);
    }
    struct mu_buf text = {0};
    job->fn(job->arg, &text);
    _exit(write_all(STDOUT_FILENO, text.data, text.len) ? 0 : 1);
}

/* Pipes whose ends are above the standard descriptors, which muster has filled. */
static bool open_pipes(int here[2], int there[2])
{
    for (int i = 0; i < 2; i++) {
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) != 0) {
            for (int k = 0; k < i; k++) {
                close(here[k]);
                close(there[k]);
            }
            return false;
        }
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        here[i] = fds[0];
        there[i] = fds[1];
    }
    return true;
}

static struct check_child *start(const struct job *job, int64_t ms)
{
    struct check_child *c = mu_alloc(sizeof(*c));
    c->fds[0] = -1;
    c->fds[1] = -1;
    c->deadline_ms = mu_clock_ms() + ms;
    int there[2];
    if (!open_pipes(c->fds, there)) {
        return c;
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pid_t self = getpid();
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of ours runs in the child */
    pid_t pid = fork();
    if (pid == 0) {
        be_child(job, self, there[0], there[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(there[0]);
    close(there[1]);
    c->pid = pid > 0 ? pid : 0;
    if (pid > 0) {
        setpgid(pid, pid); /* whoever comes first */
    }
    return c;
}

struct check_child *check_child_call(check_child_fn fn, const void *arg, int64_t ms)
{
    return start(&(struct job){.fn = fn, .arg = arg}, ms);
}

struct check_child *check_child_exec(const char *const *argv, char *const *envp, int64_t ms)
{
    return start(&(struct job){.argv = argv, .envp = envp}, ms);
}

static void close_pipes(struct check_child *c)
{
    for (int i = 0; i < 2; i++) {
        if (c->fds[i] >= 0) {
            close(c->fds[i]);
            c->fds[i] = -1;
        }
    }
}

/* Kill what is left of its group, and forget a child that cannot be killed: it is init's then. */
static void put_down(struct check_child *c)
{
    close_pipes(c);
    if (c->pid == 0) {
        return;
    }
    kill(-c->pid, SIGKILL);
    for (int i = 0; i < REAP_TRIES; i++) {
        pid_t pid = waitpid(c->pid, &c->answer.status, WNOHANG);
        if (pid != 0 && !(pid < 0 && errno == EINTR)) {
            break;
        }
        poll(NULL, 0, REAP_PAUSE_MS);
    }
    c->pid = 0;
}

/* False if it wrote more than it may. */
static bool read_some(struct check_child *c, int which)
{
    struct mu_buf *into = which == 0 ? &c->answer.out : &c->answer.err;
    size_t max = which == 0 ? CHECK_CHILD_MAX_OUT : CHECK_CHILD_MAX_ERR;
    uint8_t chunk[CHUNK];
    ssize_t n = read(c->fds[which], chunk, sizeof(chunk));
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            close(c->fds[which]);
            c->fds[which] = -1;
        }
        return true;
    }
    size_t room = max - into->len;
    mu_buf_append(into, chunk, (size_t)n < room ? (size_t)n : room);
    return which != 0 || (size_t)n <= room;
}

/* It has closed its ends: it is ending, as a rule. True if it has ended. */
static bool reap(struct check_child *c)
{
    if (c->pid == 0 || waitpid(c->pid, &c->answer.status, WNOHANG) == 0) {
        return c->pid == 0;
    }
    kill(-c->pid, SIGKILL); /* what it started in its group */
    c->pid = 0;
    c->answer.is_done = true;
    return true;
}

/* What has happened to one of them by now. Returns when to look again; 0: it has answered. */
static int64_t look(struct check_child *c, int64_t now_ms)
{
    bool is_silent = c->fds[0] < 0 && c->fds[1] < 0;
    if (is_silent && reap(c)) {
        return 0;
    }
    if (now_ms >= c->deadline_ms) {
        c->answer.is_late = true;
        put_down(c);
        return 0;
    }
    return is_silent ? now_ms + REAP_PAUSE_MS : c->deadline_ms;
}

void check_child_wait(struct check_child *const *children, size_t count)
{
    mu_autofree struct pollfd *fds = mu_calloc(2 * count, sizeof(*fds));
    for (;;) {
        int64_t now_ms = mu_clock_ms();
        int64_t wake_ms = INT64_MAX;
        for (size_t i = 0; i < count; i++) {
            int64_t next_ms = look(children[i], now_ms);
            wake_ms = next_ms != 0 && next_ms < wake_ms ? next_ms : wake_ms;
            for (size_t k = 0; k < 2; k++) {
                fds[2 * i + k] = (struct pollfd){.fd = children[i]->fds[k], .events = POLLIN};
            }
        }
        if (wake_ms == INT64_MAX) {
            return;
        }
        poll(fds, (nfds_t)(2 * count), (int)(wake_ms - now_ms));
        for (size_t i = 0; i < 2 * count; i++) {
            struct check_child *c = children[i / 2];
            if (fds[i].revents != 0 && c->fds[i % 2] >= 0 && !read_some(c, (int)(i % 2))) {
                put_down(c);
            }
        }
    }
}

const struct check_answer *check_child_answer(const struct check_child *c)
{
    return &c->answer;
}

void check_child_free(struct check_child *c)
{
    if (c != NULL) {
        put_down(c);
        mu_buf_fini(&c->answer.out);
        mu_buf_fini(&c->answer.err);
        free(c);
    }
}
