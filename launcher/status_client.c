/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/status_client.h"

#include "muster/clock.h"
#include "muster/ctl_msg.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>

enum { READ_SIZE = 64 * 1024 };

static int wait_for(int fd, short events, int64_t deadline_ms, struct mu_err *err)
{
    for (;;) {
        int64_t left = deadline_ms - mu_clock_ms();
        struct pollfd p = {.fd = fd, .events = events};
        int n = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return mu_err_set(err, MU_E_TIMEOUT, 0,
                              "no answer in time: is it a muster coordinator?");
        }
        if (errno != EINTR) {
            return mu_err_set(err, MU_E_SYSTEM, errno, "wait");
        }
    }
}

static int connect_one(const struct addrinfo *a, int64_t deadline_ms, struct mu_err *err)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "make a socket");
    }
    int failure = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
        socklen_t len = sizeof(failure);
        if (wait_for(fd, POLLOUT, deadline_ms, err) != 0) {
            close(fd);
            return -1;
        }
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len);
    }
    if (failure != 0) {
        close(fd);
        return mu_err_set(err, MU_E_CONNECT, failure, "connect");
    }
    return fd;
}

static int connect_any(const struct mu_endpoint *endpoint, int64_t deadline_ms, struct mu_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", endpoint->port);
    int rc = getaddrinfo(endpoint->host, port, &hints, &list);
    if (rc != 0) {
        return mu_err_set(err, MU_E_CONNECT, 0, "the name does not resolve: %s", gai_strerror(rc));
    }
    int fd = -1;
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
        fd = connect_one(a, deadline_ms, err);
    }
    freeaddrinfo(list);
    return fd;
}

static int send_all(int fd, const struct mu_buf *out, int64_t deadline_ms, struct mu_err *err)
{
    for (size_t at = 0; at < out->len;) {
        ssize_t n = send(fd, out->data + at, out->len - at, MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            return mu_err_set(err, MU_E_LOST, errno, "send");
        } else if (wait_for(fd, POLLOUT, deadline_ms, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The answer's JSON, or NULL. */
static char *receive(int fd, int64_t deadline_ms, struct mu_err *err)
{
    struct mu_buf in = {0};
    char *json = NULL;
    for (;;) {
        struct ctl_msg msg;
        size_t used = 0;
        int rc = ctl_msg_decode(in.data, in.len, MU_CTL_MAX_REPLY, &msg, &used, err);
        if (rc < 0) {
            mu_err_set(err, MU_E_PROTOCOL, 0,
                       "what answers there is no muster coordinator: is the port used by another "
                       "program?");
            break;
        }
        if (rc == 1 && msg.type == CTL_STATUS_REPLY) {
            json = mu_slice_dup(msg.status_reply.json);
            break;
        }
        if (rc == 1) {
            bool is_refusal = msg.type == CTL_REFUSED;
            mu_err_set(err, MU_E_PROTOCOL, 0, MU_SLICE_FMT,
                       MU_SLICE_ARG(is_refusal ? msg.refused.text
                                               : mu_slice_of("an answer that was not asked for")));
            break;
        }
        ssize_t n = recv(fd, mu_buf_reserve(&in, READ_SIZE), READ_SIZE, 0);
        if (n > 0) {
            in.len += (size_t)n;
        } else if (n == 0) {
            mu_err_set(
                err, MU_E_PROTOCOL, 0,
                "it hung up without an answer: either it is no muster coordinator, or it has "
                "too many connections");
            break;
        } else if (errno != EAGAIN && errno != EINTR) {
            mu_err_set(err, MU_E_LOST, errno, "receive");
            break;
        } else if (wait_for(fd, POLLIN, deadline_ms, err) != 0) {
            break;
        }
    }
    mu_buf_fini(&in);
    return json;
}

char *status_client_ask(const struct mu_endpoint *endpoint, const char *run_id, int64_t timeout_ms,
                        struct mu_err *err)
{
    int64_t deadline_ms = mu_clock_ms() + timeout_ms;
    mu_autoclose int fd = connect_any(endpoint, deadline_ms, err);
    if (fd < 0) {
        return NULL;
    }
    struct mu_buf out = {0};
    ctl_preface_append(&out);
    ctl_msg_encode(&(struct ctl_msg){.type = CTL_STATUS, .status = {.run_id = mu_slice_of(run_id)}},
                   &out);
    int rc = send_all(fd, &out, deadline_ms, err);
    mu_buf_fini(&out);
    return rc == 0 ? receive(fd, deadline_ms, err) : NULL;
}
