/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    struct rlimit before;
    bool is_raised;
} limit;

void descriptors_fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
            return; /* no /dev: whoever needs the descriptor reports it */
        }
    }
}

int descriptors_check_standard(struct mu_err *err)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "standard descriptor %d", fd);
        }
    }
    return 0;
}

int descriptors_open_pipe(int *ret_here, int *ret_there)
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

void descriptors_raise_limit(void)
{
    struct rlimit now;
    if (limit.is_raised || getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur == now.rlim_max) {
        return;
    }
    struct rlimit raised = {.rlim_cur = now.rlim_max, .rlim_max = now.rlim_max};
    limit.before = now;
    limit.is_raised = setrlimit(RLIMIT_NOFILE, &raised) == 0;
}

void descriptors_restore_limit(void)
{
    if (limit.is_raised) {
        setrlimit(RLIMIT_NOFILE, &limit.before);
    }
}

void descriptors_workers_limit(int64_t *soft)
{
    if (limit.is_raised) {
        *soft = limit.before.rlim_cur == RLIM_INFINITY ? -1 : (int64_t)limit.before.rlim_cur;
    }
}

bool descriptors_are_one_file(int a, int b)
{
    struct stat x;
    struct stat y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}
