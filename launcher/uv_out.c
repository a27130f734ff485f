/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_out.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
    QUEUE_HIGH = 256 * 1024, /* readers pause */
    QUEUE_LOW = 64 * 1024,   /* and go on */
    /* The rest is dropped. What 1024 workers leave in their pipes when they end must fit. */
    QUEUE_MAX = 192 * 1024 * 1024,
};

struct uv_out {
    int fd;             /* borrowed, or own_fd */
    int own_fd;         /* a description of our own, non-blocking; -1: none */
    bool is_socket;     /* send(MSG_DONTWAIT) does not block whatever the description says */
    bool is_plain_file; /* never makes a writer wait */
    int epoll_fd;       /* watches fd: uv_poll itself would make fd non-blocking; -1: not needed */
    uv_poll_t poll;
    bool is_polling;
    struct mu_buf queue;
    size_t queue_start; /* bytes of the queue already written */
    bool is_mid_line;   /* the last byte written or queued was no newline */
    int error;
    uint64_t lost;
    uint64_t lost_told;
    uint64_t total;
    uv_out_failed_fn failed; /* NULL: nobody is told */
    void *failed_arg;        /* borrowed */
    struct uv_waiter_list waiters;
};

static size_t queued(const struct uv_out *out)
{
    return out->queue.len - out->queue_start;
}

static void fail(struct uv_out *out, int error)
{
    out->error = error;
    out->lost += queued(out);
    mu_buf_fini(&out->queue);
    out->queue_start = 0;
    if (out->failed != NULL) {
        out->failed(out->failed_arg, error);
    }
}

/* One write that does not wait: bytes written, 0 if it would have to wait, -1 if fd is no more. */
static ssize_t write_some(struct uv_out *out, const char *data, size_t len)
{
    bool is_safe = out->own_fd >= 0 || out->is_plain_file || out->is_socket;
    if (!is_safe) {
        struct pollfd p = {.fd = out->fd, .events = POLLOUT};
        if (poll(&p, 1, 0) == 0) {
            return 0;
        }
        /* A pipe with POLLOUT takes this much whole; nothing promises more. */
        len = len < PIPE_BUF ? len : PIPE_BUF;
    }
    for (;;) {
        ssize_t n = out->is_socket ? send(out->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : write(out->fd, data, len);
        if (n >= 0 || errno == EAGAIN) {
            return n >= 0 ? n : 0;
        }
        if (errno != EINTR) {
            fail(out, errno);
            return -1;
        }
    }
}

/* Write from the queue until it is empty or fd is full. */
static void write_queue(struct uv_out *out)
{
    while (queued(out) > 0) {
        ssize_t n = write_some(out, (const char *)out->queue.data + out->queue_start, queued(out));
        if (n <= 0) {
            break;
        }
        out->queue_start += (size_t)n;
    }
    if (queued(out) == 0) {
        out->queue.len = 0;
        out->queue_start = 0;
    } else if (out->queue_start > out->queue.len / 2) {
        mu_buf_consume(&out->queue, out->queue_start);
        out->queue_start = 0;
    }
}

static void call_waiters(struct uv_out *out)
{
    while (!uv_out_is_full(out) && uv_waiter_call_first(&out->waiters)) {
    }
}

static void say_lost(struct uv_out *out)
{
    if (out->lost > out->lost_told && out->error == 0) {
        struct mu_buf text = {0};
        mu_buf_printf(&text, "muster: warn: %llu bytes of output were lost: it was not read\n",
                      (unsigned long long)(out->lost - out->lost_told));
        out->lost_told = out->lost;
        uv_out_log_sink(out, (const char *)text.data, text.len);
        mu_buf_fini(&text);
    }
}

static void on_poll(uv_poll_t *poll_handle, int status, int events)
{
    struct uv_out *out = poll_handle->data;
    (void)status;
    (void)events;
    write_queue(out);
    if (queued(out) <= QUEUE_LOW) {
        say_lost(out);
    }
    if (queued(out) == 0) {
        uv_poll_stop(&out->poll);
        out->is_polling = false;
    }
    if (queued(out) <= QUEUE_LOW) {
        call_waiters(out);
    }
}

static void start_polling(struct uv_out *out)
{
    if (!out->is_polling && out->epoll_fd >= 0) {
        uv_poll_start(&out->poll, UV_READABLE, on_poll);
        out->is_polling = true;
    }
}

void uv_out_write(struct uv_out *out, const char *data, size_t len)
{
    if (len == 0) {
        return;
    }
    out->is_mid_line = data[len - 1] != '\n';
    out->total += len;
    while (queued(out) == 0 && len > 0 && out->error == 0) {
        ssize_t n = write_some(out, data, len);
        if (n <= 0) {
            break;
        }
        data += n;
        len -= (size_t)n;
    }
    if (out->error != 0 || queued(out) + len > QUEUE_MAX) {
        out->lost += len;
        return;
    }
    if (len > 0) {
        mu_buf_append(&out->queue, data, len);
        start_polling(out);
    }
}

void uv_out_log_sink(void *arg, const char *line, size_t len)
{
    struct uv_out *out = arg;
    if (out->is_mid_line) {
        uv_out_write(out, "\n", 1);
    }
    uv_out_write(out, line, len);
}

bool uv_out_is_full(const struct uv_out *out)
{
    return queued(out) > QUEUE_HIGH;
}

void uv_out_wait(struct uv_out *out, struct uv_waiter *w)
{
    uv_waiter_add(&out->waiters, w);
}

void uv_out_on_failed(struct uv_out *out, uv_out_failed_fn fn, void *arg)
{
    out->failed = fn;
    out->failed_arg = arg;
}

bool uv_out_is_mid_line(const struct uv_out *out)
{
    return out->is_mid_line;
}

uint64_t uv_out_total(const struct uv_out *out)
{
    return out->total;
}

void uv_out_unref(struct uv_out *out)
{
    if (out->epoll_fd >= 0) {
        uv_unref((uv_handle_t *)&out->poll);
    }
}

bool uv_out_flush_blocking(struct uv_out *out, int64_t patience_ms, int64_t limit_ms)
{
    uint64_t now = uv_hrtime() / 1000000;
    uint64_t limit = now + (uint64_t)limit_ms;
    uint64_t until = now + (uint64_t)patience_ms;
    write_queue(out);
    while (queued(out) > 0) {
        until = until < limit ? until : limit;
        struct pollfd p = {.fd = out->fd, .events = POLLOUT};
        if (now >= until || (poll(&p, 1, (int)(until - now)) < 0 && errno != EINTR)) {
            break;
        }
        size_t before = queued(out);
        write_queue(out);
        now = uv_hrtime() / 1000000;
        until = queued(out) < before ? now + (uint64_t)patience_ms : until;
    }
    return queued(out) == 0 && out->error == 0;
}

size_t uv_out_queued(const struct uv_out *out)
{
    return queued(out);
}

uint64_t uv_out_lost(const struct uv_out *out)
{
    return out->lost;
}

int uv_out_error(const struct uv_out *out)
{
    return out->error;
}

static void free_out(struct uv_out *out)
{
    if (out->epoll_fd >= 0) {
        close(out->epoll_fd);
    }
    if (out->own_fd >= 0) {
        close(out->own_fd);
    }
    mu_buf_fini(&out->queue);
    free(out);
}

/* What kind of file fd is decides how to write to it without waiting. */
static void open_description(struct uv_out *out)
{
    struct stat st;
    if (fstat(out->fd, &st) != 0) {
        return;
    }
    out->is_socket = S_ISSOCK(st.st_mode);
    if (S_ISFIFO(st.st_mode) || isatty(out->fd)) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", out->fd);
        out->own_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        out->fd = out->own_fd >= 0 ? out->own_fd : out->fd;
    }
}

struct uv_out *uv_out_new(uv_loop_t *loop, int fd, struct mu_err *err)
{
    struct uv_out *out = mu_alloc(sizeof(*out));
    *out = (struct uv_out){.fd = fd, .own_fd = -1, .epoll_fd = -1};
    signal(SIGPIPE, SIG_IGN);
    open_description(out);
    struct epoll_event event = {.events = EPOLLOUT};
    int rc = 0;
    out->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (out->epoll_fd < 0) {
        rc = -errno;
    } else if (epoll_ctl(out->epoll_fd, EPOLL_CTL_ADD, out->fd, &event) != 0) {
        out->is_plain_file = true; /* EPERM: a file, /dev/null; EBADF: the first write finds out */
        close(out->epoll_fd);
        out->epoll_fd = -1;
    } else {
        rc = uv_poll_init(loop, &out->poll, out->epoll_fd);
        out->poll.data = out;
    }
    if (rc != 0) {
        mu_err_set(err, MU_E_SYSTEM, -rc, "watch descriptor %d for output", fd);
        free_out(out);
        return NULL;
    }
    return out;
}

static void on_closed(uv_handle_t *handle)
{
    free_out(handle->data);
}

void uv_out_close(struct uv_out *out)
{
    if (out == NULL) {
        return;
    }
    MU_REQUIRE(out->waiters.first == NULL);
    if (out->epoll_fd >= 0) {
        uv_close((uv_handle_t *)&out->poll, on_closed);
    } else {
        free_out(out);
    }
}
