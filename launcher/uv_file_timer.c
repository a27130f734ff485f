/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_file_timer.h"

#include "muster/clock.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_SIZE = 64 * 1024, /* in one turn of the loop */
    PIPE_SIZE = 1 << 20,   /* clients do not wait: every worker's request must fit at once */
    MAX_WAIT_MS = 10000,   /* the wall clock may be set meanwhile */
};

struct uv_file_timer {
    struct file_timer *engine; /* owned */
    uv_file_timer_fn expired;
    void *arg;  /* borrowed */
    char *path; /* owned */
    dev_t dev;  /* of what we made there */
    ino_t ino;
    int fd;
    uint64_t rejected_told;
    uv_poll_t poll;
    uv_timer_t timer;
    uint32_t open_handles;
    bool is_closing;
};

static void on_timer(uv_timer_t *timer);

static void arm(struct uv_file_timer *t)
{
    int64_t at_ms = file_timer_deadline(t->engine);
    if (at_ms == INT64_MAX) {
        uv_timer_stop(&t->timer);
        return;
    }
    int64_t wait_ms = at_ms - mu_clock_unix_ms();
    wait_ms = wait_ms < MAX_WAIT_MS ? wait_ms : MAX_WAIT_MS;
    uv_timer_start(&t->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct uv_file_timer *t = timer->data;
    struct file_timer_expiry expiry;
    while (!t->is_closing && file_timer_expire(t->engine, mu_clock_unix_ms(), &expiry)) {
        t->expired(t->arg, &expiry);
    }
    if (!t->is_closing) {
        arm(t);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct uv_file_timer *t = poll->data;
    (void)status; /* an error shows in the read */
    (void)events;
    char data[READ_SIZE];
    ssize_t n = read(t->fd, data, sizeof(data));
    if (n <= 0) {
        return;
    }
    uv_update_time(poll->loop);
    file_timer_feed(t->engine, data, (size_t)n, mu_clock_unix_ms());
    uint64_t rejected = file_timer_rejected(t->engine);
    if (rejected > t->rejected_told) {
        /* Once: it is the workers' to write here, and they may never stop. */
        mu_log(t->rejected_told == 0 ? MU_LOG_WARN : MU_LOG_DEBUG,
               "%s: what was written is no request for a file timer, or one too many: dropped",
               t->path);
        t->rejected_told = rejected;
    }
    arm(t);
}

/* ---- life ---- */

/* A FIFO that is there is what an earlier run left; anything else is somebody's data. */
static int clear_path(const char *path, struct mu_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return 0;
    }
    if (!S_ISFIFO(st.st_mode)) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "%s (TORCHELASTIC_TIMER_FILE) is there and is no FIFO: not replaced",
                          path);
    }
    if (unlink(path) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "remove %s", path);
    }
    return 0;
}

static int make_fifo(struct uv_file_timer *t, struct mu_err *err)
{
    struct stat st;
    if (mkfifo(t->path, 0600) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "make the FIFO %s", t->path);
    }
    t->fd = open(t->path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (t->fd < 0 || fstat(t->fd, &st) != 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "open the FIFO %s", t->path);
    }
    fcntl(t->fd, F_SETPIPE_SZ, PIPE_SIZE); /* more than is allowed: then it stays at 64 KiB */
    t->dev = st.st_dev;
    t->ino = st.st_ino;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_file_timer *t = handle->data;
    if (--t->open_handles > 0) {
        return;
    }
    file_timer_free(t->engine);
    free(t->path);
    free(t);
}

struct uv_file_timer *uv_file_timer_open(uv_loop_t *loop, const char *path, const char *tmpdir,
                                         uv_file_timer_fn expired, void *arg, struct mu_err *err)
{
    struct uv_file_timer *t = mu_alloc(sizeof(*t));
    t->fd = -1;
    t->expired = expired;
    t->arg = arg;
    t->engine = file_timer_new();
    t->timer.data = t;
    t->poll.data = t;
    uv_timer_init(loop, &t->timer);
    t->open_handles = 1;
    if (path != NULL) {
        t->path = mu_strdup(path);
    } else {
        char uuid[37];
        mu_rand_uuid(uuid);
        t->path = mu_asprintf("%s/muster_timer_%s", tmpdir != NULL ? tmpdir : "/tmp", uuid);
    }
    if (clear_path(t->path, err) != 0 || make_fifo(t, err) != 0) {
        uv_file_timer_close(t);
        return NULL;
    }
    int rc = uv_poll_init(loop, &t->poll, t->fd);
    if (rc != 0) {
        mu_err_set(err, MU_E_SYSTEM, -rc, "watch the FIFO %s", t->path);
        uv_file_timer_close(t);
        return NULL;
    }
    t->open_handles++;
    uv_poll_start(&t->poll, UV_READABLE, on_readable);
    return t;
}

const char *uv_file_timer_path(const struct uv_file_timer *t)
{
    return t->path;
}

void uv_file_timer_forget(struct uv_file_timer *t, pid_t pid)
{
    file_timer_forget(t->engine, pid);
}

void uv_file_timer_clear(struct uv_file_timer *t)
{
    /* With what those who are gone have written; others may go on writing for ever. */
    char data[READ_SIZE];
    for (int i = 0; i < PIPE_SIZE / READ_SIZE && read(t->fd, data, sizeof(data)) > 0; i++) {
    }
    file_timer_clear(t->engine);
    arm(t);
}

void uv_file_timer_delay(struct uv_file_timer *t, int64_t span_ms)
{
    file_timer_delay(t->engine, span_ms);
    arm(t);
}

void uv_file_timer_close(struct uv_file_timer *t)
{
    if (t == NULL) {
        return;
    }
    t->is_closing = true;
    struct stat st;
    if (t->fd >= 0 && lstat(t->path, &st) == 0 && st.st_dev == t->dev && st.st_ino == t->ino) {
        unlink(t->path);
    }
    bool is_polling = t->open_handles > 1;
    if (is_polling) {
        uv_close((uv_handle_t *)&t->poll, on_closed);
    }
    uv_close((uv_handle_t *)&t->timer, on_closed);
    if (t->fd >= 0) {
        close(t->fd);
    }
}
