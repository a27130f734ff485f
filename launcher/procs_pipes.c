/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/procs_pipes.h"

#include "launcher/descriptors.h"

#include <errno.h>
#include <fcntl.h>
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

int procs_pipes_open(struct procs_pipes *pipes, struct mu_err *err)
{
    if (descriptors_check_standard(err) != 0) {
        return -1;
    }
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "socket pair for the workers");
    }
    pipes->control = (struct procs_pipe){.here = fds[0], .there = fds[1]};
    if (open_pipe(&pipes->exec.here, &pipes->exec.there) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "pipe for the workers' start");
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
    *pipes = (struct procs_pipes)PROCS_PIPES_INIT;
}
