/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/file.h"

#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_SIZE = 4096 };

static int open_to_read(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* Until `size` bytes are there, or the end is. */
static ssize_t read_some(int fd, char *data, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, data + len, size - len);
        if (n > 0) {
            len += (size_t)n;
        } else if (n == 0) {
            break;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return (ssize_t)len;
}

ssize_t mu_file_read(const char *path, char *text, size_t size)
{
    int fd = open_to_read(path);
    if (fd < 0) {
        return -1;
    }
    ssize_t len = read_some(fd, text, size - 1);
    int error = errno;
    close(fd);
    errno = error;
    if (len >= 0) {
        text[len] = '\0';
    }
    return len;
}

char *mu_file_text(const char *path, size_t max, size_t *ret_len)
{
    int fd = open_to_read(path);
    if (fd < 0) {
        return NULL;
    }
    size_t size = max < FIRST_SIZE ? max + 1 : FIRST_SIZE;
    size_t len = 0;
    char *text = mu_alloc(size + 1);
    ssize_t n;
    while ((n = read_some(fd, text + len, size - len)) > 0) {
        len += (size_t)n;
        if (len < size || size > max) {
            break;
        }
        size = size * 2 < max ? size * 2 : max + 1;
        text = mu_realloc(text, size + 1);
    }
    int error = n < 0 ? errno : EFBIG;
    close(fd);
    if (n < 0 || len > max) {
        free(text);
        errno = error;
        return NULL;
    }
    text[len] = '\0';
    if (ret_len != NULL) {
        *ret_len = len;
    }
    return text;
}
