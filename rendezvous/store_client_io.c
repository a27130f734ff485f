/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_client_io.h"

#include "muster/mem.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
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

void store_io_pause(int64_t ms, int64_t deadline_ms)
{
    int64_t left = left_ms(deadline_ms);
    ms = ms < left ? ms : left;
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* 0 when the descriptor can be used, or has failed; -1 with errno ETIMEDOUT at the deadline. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = left_ms(deadline_ms);
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left < INT_MAX ? (int)left : INT_MAX);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n == 0 && left_ms(deadline_ms) == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

/* 0 when connected, or -1 with errno. */
static int finish_connect(int fd, const struct addrinfo *address, int64_t deadline_ms)
{
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS || wait_for(fd, POLLOUT, deadline_ms) != 0) {
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
static int connect_one(const struct addrinfo *address, int64_t deadline_ms)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    if (finish_connect(fd, address, deadline_ms) != 0) {
        int failure = errno;
        close(fd);
        errno = failure;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

int store_io_connect(const char *host, uint16_t port, int64_t deadline_ms, struct mu_err *err)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int rc = getaddrinfo(host, service, &hints, &addresses);
    if (rc != 0) {
        return mu_err_set(err, MU_E_CONNECT, 0, "resolve: %s", gai_strerror(rc));
    }
    int64_t untried = 0;
    for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next) {
        untried++;
    }
    int fd = -1;
    int failure = 0;
    for (const struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next) {
        /* An address that does not answer must not use up the time of the others. */
        fd = connect_one(a, store_io_now_ms() + left_ms(deadline_ms) / untried--);
        failure = errno;
    }
    freeaddrinfo(addresses);
    return fd >= 0 ? fd : mu_err_set(err, MU_E_CONNECT, failure, "connect");
}

/* What ended a transfer: errno after send() or recv(), or the deadline. */
static int transfer_failed(const char *what, struct mu_err *err)
{
    if (errno == ETIMEDOUT) {
        return mu_err_set(err, MU_E_TIMEOUT, 0, "%s: no answer in time", what);
    }
    return mu_err_set(err, MU_E_LOST, errno, "%s", what);
}

int store_io_send(int fd, const void *data, size_t len, int64_t deadline_ms, struct mu_err *err)
{
    const char *pos = data;
    while (len > 0) {
        ssize_t n = send(fd, pos, len, MSG_NOSIGNAL);
        if (n >= 0) {
            pos += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLOUT, deadline_ms) != 0) {
                return transfer_failed("send", err);
            }
        } else if (errno != EINTR) {
            return transfer_failed("send", err);
        }
    }
    return 0;
}

int store_io_recv(int fd, void *data, size_t len, int64_t deadline_ms, struct mu_err *err)
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
            if (wait_for(fd, POLLIN, deadline_ms) != 0) {
                return transfer_failed("receive", err);
            }
        } else if (errno != EINTR) {
            return transfer_failed("receive", err);
        }
    }
    return 0;
}
