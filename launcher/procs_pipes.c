/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/procs_pipes.h"

#include "launcher/descriptors.h"

#include <errno.h>
#include <sys/socket.h>

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
    if (descriptors_open_pipe(&pipes->exec.here, &pipes->exec.there) != 0) {
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
