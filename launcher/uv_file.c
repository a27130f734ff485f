/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_file.h"

#include "muster/buf.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

/* Handing a write to a thread costs more than a small write does, so they are collected. */
enum { BATCH = 256 * 1024, BATCH_MS = 10 };

struct uv_file {
    uv_loop_t *loop;
    uv_timer_t timer;    /* runs while less than a batch waits */
    uv_fs_t request;     /* the one write, or the close, that is under way */
    bool is_busy;        /* it is */
    bool is_closing;     /* when all is written */
    int fd;              /* owned */
    char *path;          /* owned */
    struct mu_buf queue; /* comes next */
    struct mu_buf block; /* is being written */
    size_t written;      /* of it */
    size_t high;
    int error;
    uv_file_failed_fn failed;
    void *arg;
    struct uv_waiter_list waiters;
};

static void go_on(struct uv_file *f);

static void on_timer_closed(uv_handle_t *handle)
{
    struct uv_file *f = handle->data;
    free(f->path);
    free(f);
}

static void on_closed(uv_fs_t *request)
{
    struct uv_file *f = request->data;
    uv_fs_req_cleanup(request);
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

static void fail(struct uv_file *f, int error)
{
    f->error = error;
    mu_buf_fini(&f->queue);
    mu_buf_fini(&f->block);
    f->written = 0;
    f->failed(f->arg, f->path, error);
}

static void on_written(uv_fs_t *request)
{
    struct uv_file *f = request->data;
    ssize_t n = request->result;
    uv_fs_req_cleanup(request);
    f->is_busy = false;
    if (n < 0 && n != -EINTR && n != -EAGAIN) {
        fail(f, (int)-n);
    } else {
        f->written += n > 0 ? (size_t)n : 0;
    }
    go_on(f);
    while (!uv_file_is_full(f) && uv_waiter_call_first(&f->waiters)) {
    }
}

/* Start the next write, or the close, unless one is under way. */
static void go_on(struct uv_file *f)
{
    if (f->is_busy) {
        return;
    }
    if (f->written == f->block.len) {
        struct mu_buf done = f->block;
        f->block = f->queue;
        f->queue = done;
        f->queue.len = 0;
        f->written = 0;
        if (f->block.len == 0) { /* idle files hold no memory */
            mu_buf_fini(&f->block);
            mu_buf_fini(&f->queue);
        }
    }
    if (f->block.len > 0) {
        uv_buf_t rest =
            uv_buf_init((char *)f->block.data + f->written, (unsigned)(f->block.len - f->written));
        f->is_busy = uv_fs_write(f->loop, &f->request, f->fd, &rest, 1, -1, on_written) == 0;
        MU_REQUIRE(f->is_busy);
    } else if (f->is_closing) {
        /* By a thread too: on a network file system a close waits for the server. */
        f->is_busy = uv_fs_close(f->loop, &f->request, f->fd, on_closed) == 0;
        MU_REQUIRE(f->is_busy);
    }
}

static void on_batch_timer(uv_timer_t *timer)
{
    go_on(timer->data);
}

struct uv_file *uv_file_open(uv_loop_t *loop, const struct uv_file_spec *spec, struct mu_err *err)
{
    signal(SIGXFSZ, SIG_IGN);
    int fd = open(spec->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0) {
        mu_err_set(err, MU_E_SYSTEM, errno, "log file %s", spec->path);
        return NULL;
    }
    struct uv_file *f = mu_alloc(sizeof(*f));
    *f = (struct uv_file){.loop = loop,
                          .fd = fd,
                          .path = mu_strdup(spec->path),
                          .high = spec->high,
                          .failed = spec->failed,
                          .arg = spec->arg};
    f->request.data = f;
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    return f;
}

void uv_file_write(struct uv_file *f, const char *data, size_t len)
{
    MU_REQUIRE(!f->is_closing);
    if (f->error != 0) {
        return;
    }
    mu_buf_append(&f->queue, data, len);
    if (f->queue.len >= BATCH || uv_file_is_full(f)) {
        go_on(f);
    } else if (!f->is_busy && !uv_is_active((uv_handle_t *)&f->timer)) {
        uv_timer_start(&f->timer, on_batch_timer, BATCH_MS, 0);
    }
}

bool uv_file_is_full(const struct uv_file *f)
{
    return f->queue.len >= f->high;
}

void uv_file_wait(struct uv_file *f, struct uv_waiter *w)
{
    uv_waiter_add(&f->waiters, w);
}

void uv_file_close(struct uv_file *f)
{
    if (f == NULL) {
        return;
    }
    MU_REQUIRE(f->waiters.first == NULL);
    f->is_closing = true;
    uv_timer_stop(&f->timer);
    go_on(f);
}
