/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/whole_file.h"

#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int write_all(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_in_place(const char *path, const char *text, struct mu_err *err)
{
    mu_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || write_all(fd, text) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "write %s", path);
    }
    return 0;
}

static int replace(const char *path, const char *text, struct mu_err *err)
{
    mu_autofree char *part = mu_asprintf("%s.%d.part", path, (int)getpid());
    int fd = open(part, O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (fd < 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "create %s", part);
    }
    bool is_written = write_all(fd, text) == 0 && fsync(fd) == 0;
    int error = errno;
    if (close(fd) != 0 && is_written) {
        is_written = false;
        error = errno;
    }
    if (is_written && rename(part, path) == 0) {
        return 0;
    }
    error = is_written ? errno : error;
    unlink(part);
    return mu_err_set(err, MU_E_SYSTEM, error, "write %s", path);
}

int whole_file_write(const char *path, const char *text, struct mu_err *err)
{
    struct stat st;
    bool is_there = stat(path, &st) == 0;
    if (is_there && !S_ISREG(st.st_mode)) {
        return write_in_place(path, text, err);
    }
    /* A link stays: what it leads to is replaced. */
    mu_autofree char *target = is_there ? realpath(path, NULL) : NULL;
    return replace(target != NULL ? target : path, text, err);
}
