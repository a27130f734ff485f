/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_client_io.h"

#include "muster/mem.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

int64_t store_io_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - store_io_now_ms();
    return left > 0 ? left : 0;
}

static int64_t earlier_of(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

int store_io_wait(int fd, short events, struct store_io_limit *limit)
{
    for (;;) {
        int64_t left = left_ms(limit->deadline_ms);
        struct pollfd p[] = {{.fd = fd, .events = events},
                             {.fd = limit->cancel_fd, .events = POLLIN}};
        int n = poll(p, MU_COUNT(p), left < INT_MAX ? (int)left : INT_MAX);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0 && p[0].revents != 0) {
            return 0; /* before a cancel: what has come is not given up */
        }
        if (n > 0) {
            limit->is_canceled = true;
            limit->cancel_fd = -1;
            limit->deadline_ms =
                earlier_of(limit->deadline_ms, store_io_now_ms() + limit->grace_ms);
        }
        if (n == 0 && left_ms(limit->deadline_ms) == 0) {
            errno = limit->is_canceled ? ECANCELED : ETIMEDOUT;
            return -1;
        }
    }
}

void store_io_pause(int64_t ms, struct store_io_limit *limit)
{
    struct store_io_limit pause = *limit;
    pause.deadline_ms = earlier_of(limit->deadline_ms, store_io_now_ms() + ms);
    store_io_wait(-1, 0, &pause);
    if (pause.is_canceled) {
        *limit = pause;
    }
}

/* 0 when connected, or -1 with errno. */
static int finish_connect(int fd, const struct addrinfo *address, struct store_io_limit *limit)
{
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
        return 0;
    }
    if ((errno != EINPROGRESS && errno != EINTR) || store_io_wait(fd, POLLOUT, limit) != 0) {
        return -1;
    }
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0) {
        return -1;
    }
    errno = failure;
    return failure == 0 ? 0 : -1;
}

/* A connected descriptor, or -1 with errno. */
static int connect_one(const struct addrinfo *address, struct store_io_limit *limit)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    if (finish_connect(fd, address, limit) != 0) {
        int failure = errno;
        close(fd);
        errno = failure;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

int store_io_connect(const char *host, uint16_t port, struct store_io_limit *limit,
                     struct mu_err *err)
{
    struct addrinfo *addresses = store_io_resolve(host, port, limit, err);
    if (addresses == NULL) {
        return -1;
    }
    int64_t untried = 0;
    for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        untried++;
    }
    int fd = -1;
    int failure = 0;
    for (const struct addrinfo *a = addresses; a != NULL && fd < 0 && !limit->is_canceled;
         a = a->ai_next) {
        /* An address that does not answer must not use up the time of the others. */
        struct store_io_limit share = *limit;
        share.deadline_ms = store_io_now_ms() + left_ms(limit->deadline_ms) / untried--;
        fd = connect_one(a, &share);
        failure = errno;
        limit->is_canceled = share.is_canceled;
    }
    freeaddrinfo(addresses);
    if (fd < 0 && limit->is_canceled) {
        return mu_err_set(err, MU_E_CANCELED, 0, "connect: cancelled");
    }
    return fd >= 0 ? fd : mu_err_set(err, MU_E_CONNECT, failure, "connect");
}

/* What ended a transfer: errno after send() or recv(), or the limit. */
static int transfer_failed(const char *what, struct mu_err *err)
{
    if (errno == ETIMEDOUT) {
        return mu_err_set(err, MU_E_TIMEOUT, 0, "%s: no answer in time", what);
    }
    if (errno == ECANCELED) {
        return mu_err_set(err, MU_E_CANCELED, 0, "%s: cancelled", what);
    }
    return mu_err_set(err, MU_E_LOST, errno, "%s", what);
}

int store_io_send(int fd, const void *data, size_t len, struct store_io_limit *limit,
                  struct mu_err *err)
{
    const char *pos = data;
    while (len > 0) {
        ssize_t n = send(fd, pos, len, MSG_NOSIGNAL);
        if (n >= 0) {
            pos += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (store_io_wait(fd, POLLOUT, limit) != 0) {
                return transfer_failed("send", err);
            }
        } else if (errno != EINTR) {
            return transfer_failed("send", err);
        }
    }
    return 0;
}

int store_io_recv(int fd, void *data, size_t len, struct store_io_limit *limit, struct mu_err *err)
{
    char *pos = data;
    while (len > 0) {
        ssize_t n = recv(fd, pos, len, 0);
        if (n > 0) {
            pos += n;
            len -= (size_t)n;
        } else if (n == 0) {
            return mu_err_set(err, MU_E_LOST, 0, "the server closed the connection");
        } else if (errno == EAGAIN) {
            if (store_io_wait(fd, POLLIN, limit) != 0) {
                return transfer_failed("receive", err);
            }
        } else if (errno != EINTR) {
            return transfer_failed("receive", err);
        }
    }
    return 0;
}
