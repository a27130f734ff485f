/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/procs_pipes.h"

#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Returns 0, or -1 and errno. */
static int open_pipe(int *ret_here, int *ret_there)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -1;
    }
    fcntl(fds[0], F_SETFL, O_NONBLOCK); /* the two ends have flags of their own */
    *ret_here = fds[0];
    *ret_there = fds[1];
    return 0;
}

int procs_pipes_open(struct procs_pipes *pipes, uint32_t count, struct mu_err *err)
{
    /* Were one of these closed, a pipe could get its number and a worker would inherit it. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "standard descriptor %d", fd);
        }
    }
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "socket pair for the workers");
    }
    pipes->control = (struct procs_pipe){.here = fds[0], .there = fds[1]};
    if (open_pipe(&pipes->exec.here, &pipes->exec.there) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "pipe for the workers' start");
    }
    pipes->err_here = mu_calloc(count, sizeof(*pipes->err_here));
    pipes->err_there = mu_calloc(count, sizeof(*pipes->err_there));
    for (uint32_t i = 0; i < count; i++) {
        if (open_pipe(&pipes->err_here[i], &pipes->err_there[i]) != 0) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "pipe for standard error of worker %u", i);
        }
        pipes->count++;
    }
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void procs_pipes_close(struct procs_pipes *pipes)
{
    close_fd(pipes->control.here);
    close_fd(pipes->control.there);
    close_fd(pipes->exec.here);
    close_fd(pipes->exec.there);
    for (uint32_t i = 0; i < pipes->count; i++) {
        close_fd(pipes->err_here[i]);
        close_fd(pipes->err_there[i]);
    }
    free(pipes->err_here);
    free(pipes->err_there);
    *pipes = (struct procs_pipes)PROCS_PIPES_INIT;
}
