/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cancel is an event descriptor: readable while raised. That makes it a level, not an edge, so
 * that one raised just before a call blocks is not lost; write(2) may be used in signal handlers;
 * and every poll(2) of the client can watch it.
 */
#include "muster/mem.h"
#include "muster/store_client.h"
#include "rendezvous/store_client_impl.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

struct store_cancel {
    int fd; /* owned */
};

struct store_cancel *store_cancel_new(struct mu_err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        mu_err_set(err, MU_E_SYSTEM, errno, "eventfd");
        return NULL;
    }
    struct store_cancel *cancel = mu_alloc(sizeof(*cancel));
    cancel->fd = fd;
    return cancel;
}

void store_cancel_free(struct store_cancel *cancel)
{
    if (cancel != NULL) {
        close(cancel->fd);
        free(cancel);
    }
}

void store_cancel_raise(struct store_cancel *cancel)
{
    int saved = errno; /* a signal handler must not change it */
    const uint64_t one = 1;
    ssize_t n = write(cancel->fd, &one, sizeof(one)); /* EAGAIN: it is raised already */
    (void)n;
    errno = saved;
}

void store_cancel_clear(struct store_cancel *cancel)
{
    uint64_t unused;
    ssize_t n = read(cancel->fd, &unused, sizeof(unused)); /* EAGAIN: it was not raised */
    (void)n;
}

bool store_cancel_is_raised(const struct store_cancel *cancel)
{
    struct pollfd p = {.fd = cancel->fd, .events = POLLIN};
    int n;
    do {
        n = poll(&p, 1, 0);
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

int store_cancel_fd(const struct store_cancel *cancel)
{
    return cancel != NULL ? cancel->fd : -1;
}
