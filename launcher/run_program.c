/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/run_program.h"

#include "launcher/descriptors.h"
#include "muster/clock.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdnoreturn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_EXECUTED = 127 };

struct pipe_end {
    int here;
    int there;
    struct mu_buf *into;
    size_t max;
    bool is_cut; /* what is beyond `max` is read and forgotten */
};

/* In the child: system calls only. */
static noreturn void execute(char *const *argv, char *const *envp, const struct pipe_end *out,
                             const struct pipe_end *err, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && null >= 0 &&
        dup2(null, STDIN_FILENO) >= 0 && dup2(out->there, STDOUT_FILENO) >= 0 &&
        dup2(err->there, STDERR_FILENO) >= 0) {
        execve(argv[0], argv, envp);
    }
    static const char words[] = "could not be executed\n";
    ssize_t n = write(STDERR_FILENO, words, sizeof(words) - 1);
    _exit(n > 0 ? NOT_EXECUTED : 1);
}

/* Take what is there. False at the end of it, or if it is too much. */
static bool take(struct pipe_end *p)
{
    char bytes[4096];
    ssize_t n = read(p->here, bytes, sizeof(bytes));
    if (n < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    size_t room = p->max - p->into->len;
    size_t len = (size_t)n < room ? (size_t)n : room;
    mu_buf_append(p->into, bytes, len);
    return n > 0 && (len == (size_t)n || p->is_cut);
}

/* Until both ends are closed, one has too much, or the time is over. */
static int follow(struct pipe_end *ends, int64_t deadline_ms, struct mu_err *err)
{
    struct pollfd polled[2] = {{.fd = ends[0].here, .events = POLLIN},
                               {.fd = ends[1].here, .events = POLLIN}};
    while (polled[0].fd >= 0 || polled[1].fd >= 0) {
        int64_t left = deadline_ms - mu_clock_ms();
        if (left <= 0) {
            return mu_err_set(err, MU_E_TIMEOUT, 0, "it took too long");
        }
        int n = poll(polled, 2, left < INT_MAX ? (int)left : INT_MAX);
        if (n < 0 && errno != EINTR) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "wait for what it writes");
        }
        for (size_t i = 0; n > 0 && i < 2; i++) {
            if (polled[i].revents != 0 && !take(&ends[i])) {
                polled[i].fd = -1;
            }
        }
        if (!ends[0].is_cut && ends[0].into->len == ends[0].max) {
            return mu_err_set(err, MU_E_LIMIT, 0, "it wrote %zu bytes or more", ends[0].max);
        }
    }
    return 0;
}

/* The child's end; its output has ended, so there is little to wait for, unless it is to die. */
static int await(pid_t pid, bool is_to_die, int64_t deadline_ms, struct outcome *ret_outcome,
                 struct mu_err *err)
{
    for (bool is_late = is_to_die;; poll(NULL, 0, 1)) {
        if (is_late) {
            kill(pid, SIGKILL);
        }
        int status;
        pid_t got = waitpid(pid, &status, is_late ? 0 : WNOHANG);
        if (got == pid) {
            *ret_outcome =
                WIFEXITED(status)
                    ? (struct outcome){.kind = OUTCOME_EXITED, .code = WEXITSTATUS(status)}
                    : (struct outcome){.kind = OUTCOME_SIGNALED, .code = WTERMSIG(status)};
            return !is_to_die && is_late ? mu_err_set(err, MU_E_TIMEOUT, 0, "it took too long") : 0;
        }
        if (got < 0 && errno != EINTR) { /* children were ignored by who started us */
            *ret_outcome = (struct outcome){.kind = OUTCOME_UNKNOWN};
            return 0;
        }
        is_late = is_late || mu_clock_ms() >= deadline_ms;
    }
}

static int open_pipes(struct pipe_end ends[2], struct mu_err *err)
{
    return descriptors_open_pipe(&ends[0].here, &ends[0].there) != 0 ||
                   descriptors_open_pipe(&ends[1].here, &ends[1].there) != 0
               ? mu_err_set(err, MU_E_SYSTEM, errno, "pipe for a program")
               : 0;
}

static void close_end(int *fd)
{
    mu_cleanup_close(fd);
    *fd = -1;
}

static int run(char *const *argv, char *const *envp, struct pipe_end ends[2], int64_t deadline_ms,
               struct outcome *ret_outcome, struct mu_err *err)
{
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        execute(argv, envp, &ends[0], &ends[1], self);
    }
    if (pid < 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "start %s", argv[0]);
    }
    close_end(&ends[0].there);
    close_end(&ends[1].there);
    int rc = follow(ends, deadline_ms, err);
    return await(pid, rc != 0, deadline_ms, ret_outcome, err) != 0 ? -1 : rc;
}

int run_program(char *const *argv, char *const *envp, const struct run_program_limits *limits,
                struct run_program_result *result, struct mu_err *err)
{
    struct pipe_end ends[2] = {
        {.here = -1, .there = -1, .into = &result->out, .max = limits->out_max},
        {.here = -1, .there = -1, .into = &result->err, .max = limits->err_max, .is_cut = true},
    };
    int64_t deadline_ms = mu_clock_ms() + limits->timeout_ms;
    int rc = open_pipes(ends, err);
    if (rc == 0) {
        rc = run(argv, envp, ends, deadline_ms, &result->outcome, err);
    }
    for (size_t i = 0; i < MU_COUNT(ends); i++) {
        close_end(&ends[i].here);
        close_end(&ends[i].there);
    }
    return rc;
}

void run_program_fini(struct run_program_result *result)
{
    mu_buf_fini(&result->out);
    mu_buf_fini(&result->err);
}
