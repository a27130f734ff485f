/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_capture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

enum {
    CHUNK = UV_CAPTURE_PIPE_MAX, /* what a pipe can hold: one read empties it */
    FLOOD = 32 * 1024,           /* half of what it holds at first */
    /* A pipe that was half full or more has a writer in the middle of something. */
    HOLD_FLOODED_MS = 1000,
};

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_held(uv_timer_t *timer);

static struct line_place console_place(const struct uv_capture *c)
{
    const struct uv_out *console = c->sinks.console;
    return (struct line_place){.is_own = uv_out_total(console) == c->console_total,
                               .is_fresh = !uv_out_is_mid_line(console)};
}

static void print(struct uv_capture *c, struct mu_buf *text)
{
    if (text->len > 0) {
        uv_out_write(c->sinks.console, (const char *)text->data, text->len);
        c->console_total = uv_out_total(c->sinks.console);
        text->len = 0;
    }
}

static void print_lines(struct uv_capture *c, const char *data, size_t len)
{
    struct mu_buf *text = c->sinks.scratch;
    bool was_holding = line_stream_is_holding(&c->lines);
    line_stream_add(&c->lines, console_place(c), data, len, text);
    if (line_stream_is_holding(&c->lines) && (!was_holding || text->len > 0)) {
        c->held_since_ms = uv_now(c->poll.loop);
        if (!uv_is_active((uv_handle_t *)&c->timer)) {
            uv_timer_start(&c->timer, on_held, UV_CAPTURE_HOLD_MS, 0);
        }
    }
    print(c, text);
}

static void print_held(struct uv_capture *c)
{
    if (line_stream_is_holding(&c->lines)) {
        line_stream_flush(&c->lines, console_place(c), c->sinks.scratch);
        print(c, c->sinks.scratch);
    }
}

/* Bytes in the pipe. They will be read when there is room. */
static size_t unread(const struct uv_capture *c)
{
    int left = 0;
    bool is_known = c->is_open && !c->is_over && ioctl(c->fd, FIONREAD, &left) == 0;
    return is_known && left > 0 ? (size_t)left : 0;
}

/* The timer runs on while lines come and go; what is held now may be younger than it. */
static void on_held(uv_timer_t *timer)
{
    struct uv_capture *c = timer->data;
    if (!line_stream_is_holding(&c->lines)) {
        return;
    }
    uint64_t age = uv_now(timer->loop) - c->held_since_ms;
    uint64_t limit = c->is_flooding ? HOLD_FLOODED_MS : UV_CAPTURE_HOLD_MS;
    if (age < limit) {
        uv_timer_start(timer, on_held, limit - age, 0);
    } else if (unread(c) > 0) {
        uv_timer_start(timer, on_held, UV_CAPTURE_HOLD_MS, 0);
    } else {
        print_held(c);
    }
}

static void write_matches(struct uv_capture *c, struct mu_buf *text)
{
    if (text->len > 0) {
        uv_file_write(c->sinks.filtered, (const char *)text->data, text->len);
        text->len = 0;
    }
}

static void deliver(struct uv_capture *c, const char *data, size_t len)
{
    const struct uv_capture_sinks *s = &c->sinks;
    if (s->keeps_tail) {
        trace_keep_add(&c->trace, &c->tail, data, len);
        tail_ring_append(&c->tail, data, len);
    }
    if (s->file != NULL) {
        uv_file_write(s->file, data, len);
    }
    if (s->console != NULL && s->prefix != NULL) {
        print_lines(c, data, len);
    } else if (s->console != NULL) {
        uv_out_write(s->console, data, len);
    }
    if (s->filtered != NULL) {
        line_filter_add(&c->matches, s->filter, s->prefix, data, len, s->scratch);
        write_matches(c, s->scratch);
    }
}

/*
 * A larger pipe lets writer and reader take fewer turns, which is what counts when there are more
 * of them than CPUs. Refused (a limit of the user's on all pipes together), it stays as it is.
 */
static void note_flood(struct uv_capture *c, bool is_flooding)
{
    if (is_flooding && c->sinks.may_grow_pipe) {
        c->sinks.may_grow_pipe = false;
        (void)fcntl(c->fd, F_SETPIPE_SZ, UV_CAPTURE_PIPE_MAX);
    }
    c->is_flooding = is_flooding;
}

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
        print_held(c);
    }
    if (n <= 0) {
        return 0;
    }
    note_flood(c, n >= FLOOD);
    deliver(c, chunk, (size_t)n);
    return (size_t)n;
}

/* True if a sink is full: the waiter is called when it is not any more. */
static bool wait_for_room(struct uv_capture *c)
{
    const struct uv_capture_sinks *s = &c->sinks;
    if (s->console != NULL && uv_out_is_full(s->console)) {
        uv_out_wait(s->console, &c->waiter);
    } else if (s->file != NULL && uv_file_is_full(s->file)) {
        uv_file_wait(s->file, &c->waiter);
    } else if (s->filtered != NULL && uv_file_is_full(s->filtered)) {
        uv_file_wait(s->filtered, &c->waiter);
    } else {
        return false;
    }
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct uv_capture *c = poll->data;
    (void)status; /* an error shows in the read */
    (void)events;
    read_chunk(c, CHUNK);
    if (!c->is_over && wait_for_room(c)) {
        uv_poll_stop(&c->poll);
    }
}

static void on_room(void *arg)
{
    struct uv_capture *c = arg;
    if (!c->is_over && !wait_for_room(c)) {
        uv_poll_start(&c->poll, UV_READABLE, on_readable);
    }
}

int uv_capture_open(struct uv_capture *c, uv_loop_t *loop, int fd,
                    const struct uv_capture_sinks *sinks, struct mu_err *err)
{
    int rc = uv_poll_init(loop, &c->poll, fd);
    if (rc != 0) {
        close(fd);
        uv_file_close(sinks->file);
        return mu_err_set(err, MU_E_SYSTEM, -rc, "watch a worker's output");
    }
    uv_timer_init(loop, &c->timer);
    c->fd = fd;
    c->sinks = *sinks;
    c->lines.prefix = mu_slice_of(sinks->prefix);
    c->console_total = UINT64_MAX;
    c->poll.data = c;
    c->timer.data = c;
    c->waiter = (struct uv_waiter){.fn = on_room, .arg = c};
    c->is_open = true;
    uv_poll_start(&c->poll, UV_READABLE, on_readable);
    return 0;
}

void uv_capture_drain(struct uv_capture *c)
{
    if (!c->is_open || c->is_over) {
        return;
    }
    size_t left = unread(c);
    while (left > 0 && !c->is_over) {
        size_t n = read_chunk(c, left);
        if (n == 0) {
            break;
        }
        left -= n;
    }
    print_held(c);
}

uint64_t uv_capture_total(const struct uv_capture *c)
{
    return c->tail.total + unread(c);
}

unsigned uv_capture_close(struct uv_capture *c, void *data, uv_close_cb closed)
{
    if (!c->is_open) {
        return 0;
    }
    c->is_open = false;
    print_held(c);
    if (c->sinks.filtered != NULL) {
        line_filter_end(&c->matches, c->sinks.filter, c->sinks.prefix, c->sinks.scratch);
        write_matches(c, c->sinks.scratch);
    }
    uv_waiter_cancel(&c->waiter);
    uv_file_close(c->sinks.file);
    c->poll.data = data;
    c->timer.data = data;
    uv_close((uv_handle_t *)&c->poll, closed);
    uv_close((uv_handle_t *)&c->timer, closed);
    close(c->fd);
    return 2;
}

void uv_capture_fini(struct uv_capture *c)
{
    tail_ring_fini(&c->tail);
    trace_keep_fini(&c->trace);
    line_stream_fini(&c->lines);
    line_filter_stream_fini(&c->matches);
}
