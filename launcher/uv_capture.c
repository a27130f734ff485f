/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_capture.h"

#include <errno.h>
#include <sys/ioctl.h>

enum { CHUNK = 64 * 1024 }; /* what a pipe holds: one read empties it */

/* One read of at most `max` bytes. Returns how many there were. */
static size_t read_chunk(struct uv_capture *c, size_t max)
{
    char chunk[CHUNK];
    ssize_t n;
    do {
        n = read(c->fd, chunk, max < sizeof(chunk) ? max : sizeof(chunk));
    } while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        c->is_over = true;
        uv_poll_stop(&c->poll);
    }
    if (n <= 0) {
        return 0;
    }
    tail_ring_append(&c->tail, chunk, (size_t)n);
    if (c->out != NULL) {
        uv_out_write(c->out, chunk, (size_t)n);
    }
    return (size_t)n;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct uv_capture *c = poll->data;
    (void)status; /* an error shows in the read */
    (void)events;
    read_chunk(c, CHUNK);
    if (!c->is_over && c->out != NULL && uv_out_is_full(c->out)) {
        uv_poll_stop(&c->poll);
        uv_out_wait(c->out, &c->waiter);
    }
}

static void on_room(void *arg)
{
    struct uv_capture *c = arg;
    if (!c->is_over) {
        uv_poll_start(&c->poll, UV_READABLE, on_readable);
    }
}

int uv_capture_open(struct uv_capture *c, uv_loop_t *loop, int fd, struct uv_out *out,
                    struct mu_err *err)
{
    int rc = uv_poll_init(loop, &c->poll, fd);
    if (rc != 0) {
        close(fd);
        return mu_err_set(err, MU_E_SYSTEM, -rc, "watch a worker's standard error");
    }
    c->fd = fd;
    c->out = out;
    c->poll.data = c;
    c->waiter = (struct uv_out_waiter){.fn = on_room, .arg = c};
    c->is_open = true;
    uv_poll_start(&c->poll, UV_READABLE, on_readable);
    return 0;
}

void uv_capture_drain(struct uv_capture *c)
{
    int left = 0;
    if (!c->is_open || c->is_over || ioctl(c->fd, FIONREAD, &left) != 0) {
        return;
    }
    while (left > 0 && !c->is_over) {
        size_t n = read_chunk(c, (size_t)left);
        if (n == 0) {
            break;
        }
        left -= (int)n;
    }
}

bool uv_capture_close(struct uv_capture *c, void *data, uv_close_cb closed)
{
    if (!c->is_open) {
        return false;
    }
    c->is_open = false;
    if (c->out != NULL) {
        uv_out_cancel_wait(c->out, &c->waiter);
    }
    c->poll.data = data;
    uv_close((uv_handle_t *)&c->poll, closed);
    close(c->fd);
    return true;
}

void uv_capture_fini(struct uv_capture *c)
{
    tail_ring_fini(&c->tail);
}
