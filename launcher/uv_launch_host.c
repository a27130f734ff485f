/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_launch_host.h"

#include "launcher/descriptors.h"
#include "launcher/launch_order.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    STREAMS = 2,
    MAX_SAID = 16 * 1024, /* of each stream before muster answers; the end of it is kept */
};

/* Standard output or error of the process. */
struct stream {
    struct uv_launch_host *host;
    int fd;         /* owned until the capture has it; -1: none */
    uv_poll_t poll; /* until muster answers */
    bool is_polled;
    struct mu_buf said;
    struct uv_capture capture; /* from then on */
};

struct uv_launch_host {
    uv_loop_t *loop;
    size_t index;
    struct uv_launch_sinks sinks;
    const struct uv_launch_handlers *handlers; /* borrowed */
    void *arg;
    uv_process_t process;
    uv_pipe_t input;
    bool is_running;
    bool has_handles; /* process and input are to be closed */
    bool has_said_hello;
    struct stream streams[STREAMS];
    unsigned open_handles;
    bool is_closing;
};

struct uv_launch_host *uv_launch_host_new(uv_loop_t *loop, size_t index,
                                          const struct uv_launch_sinks *sinks,
                                          const struct uv_launch_handlers *handlers, void *arg)
{
    struct uv_launch_host *h = mu_alloc(sizeof(*h));
    h->loop = loop;
    h->index = index;
    h->sinks = *sinks;
    h->handlers = handlers;
    h->arg = arg;
    for (int k = 0; k < STREAMS; k++) {
        h->streams[k].host = h;
        h->streams[k].fd = -1;
    }
    return h;
}

/* ---- before muster answers ---- */

/* All that can be read now. False if the stream is over. */
static bool collect(struct stream *s)
{
    char chunk[4096];
    for (;;) {
        ssize_t n = read(s->fd, chunk, sizeof(chunk));
        if (n > 0) {
            mu_buf_append(&s->said, chunk, (size_t)n);
            mu_buf_consume(&s->said, s->said.len > MAX_SAID ? s->said.len - MAX_SAID : 0);
        } else if (n == 0 || errno != EINTR) {
            return n < 0 && errno == EAGAIN;
        }
    }
}

static bool is_hello_among(const struct mu_buf *said)
{
    struct mu_slice rest = {.ptr = (const char *)said->data, .len = said->len};
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        bool is_whole = line.ptr + line.len < (const char *)said->data + said->len;
        if (is_whole && mu_slice_eq(line, mu_slice_of(LAUNCH_HELLO))) {
            return true;
        }
    }
    return false;
}

static void on_poll_closed(uv_handle_t *handle);

static void stop_polling(struct stream *s)
{
    if (s->is_polled) {
        s->is_polled = false;
        uv_close((uv_handle_t *)&s->poll, on_poll_closed);
    }
}

/* From now on what comes is the job's. */
static void relay(struct uv_launch_host *h)
{
    for (int k = 0; k < STREAMS; k++) {
        struct stream *s = &h->streams[k];
        struct uv_capture_sinks sinks = {
            .console = h->sinks.consoles[k], .prefix = "", .scratch = h->sinks.scratch};
        struct mu_err err = MU_ERR_INIT;
        int fd = s->fd;
        collect(s); /* a login shell's words that are still in the pipe */
        stop_polling(s);
        s->fd = -1;
        /* It fails for want of memory in the kernel; the process then ends by a closed pipe. */
        (void)uv_capture_open(&s->capture, h->loop, fd, &sinks, &err);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct stream *s = poll->data;
    struct uv_launch_host *h = s->host;
    (void)status;
    (void)events;
    if (!collect(s)) {
        uv_poll_stop(poll);
    }
    if (!h->has_said_hello && is_hello_among(&h->streams[0].said)) {
        h->has_said_hello = true;
        relay(h);
        h->handlers->hello(h->arg, h->index);
    }
}

struct mu_slice uv_launch_host_said(const struct uv_launch_host *h)
{
    const struct mu_buf *said = &h->streams[1].said;
    return (struct mu_slice){.ptr = (const char *)said->data, .len = said->len};
}

/* ---- the process ---- */

static void on_ended(uv_process_t *process, int64_t exit_status, int signo)
{
    struct uv_launch_host *h = process->data;
    h->is_running = false;
    for (int k = 0; k < STREAMS; k++) {
        if (h->streams[k].fd >= 0) {
            collect(&h->streams[k]);
        }
        uv_capture_drain(&h->streams[k].capture);
    }
    h->handlers->ended(h->arg, h->index, (int)exit_status, signo);
}

static int watch(struct uv_launch_host *h, struct mu_err *err)
{
    for (int k = 0; k < STREAMS; k++) {
        struct stream *s = &h->streams[k];
        int rc = uv_poll_init(h->loop, &s->poll, s->fd);
        if (rc != 0) {
            return mu_err_set(err, MU_E_SYSTEM, -rc, "watch the output of ssh");
        }
        s->is_polled = true;
        s->poll.data = s;
        h->open_handles++;
        uv_poll_start(&s->poll, UV_READABLE, on_readable);
    }
    return 0;
}

static int spawn(struct uv_launch_host *h, char **argv, const int there[STREAMS],
                 struct mu_err *err)
{
    uv_stdio_container_t stdio[] = {
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE),
         .data = {.stream = (uv_stream_t *)&h->input}},
        {.flags = UV_INHERIT_FD, .data = {.fd = there[0]}},
        {.flags = UV_INHERIT_FD, .data = {.fd = there[1]}},
    };
    uv_process_options_t options = {.exit_cb = on_ended,
                                    .file = argv[0],
                                    .args = argv,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio_count = MU_COUNT(stdio),
                                    .stdio = stdio};
    uv_pipe_init(h->loop, &h->input, 0);
    h->input.data = h;
    h->process.data = h;
    int rc = uv_spawn(h->loop, &h->process, &options);
    h->has_handles = true; /* both are to be closed in any case */
    h->open_handles += 2;
    h->is_running = rc == 0;
    return rc == 0 ? 0 : mu_err_set(err, MU_E_SYSTEM, -rc, "execute '%s'", argv[0]);
}

int uv_launch_host_start(struct uv_launch_host *h, char **argv, struct mu_err *err)
{
    int there[STREAMS] = {-1, -1};
    int rc = 0;
    for (int k = 0; k < STREAMS && rc == 0; k++) {
        rc = descriptors_open_pipe(&h->streams[k].fd, &there[k]);
    }
    rc = rc == 0 ? spawn(h, argv, there, err)
                 : mu_err_set(err, MU_E_SYSTEM, errno, "a pipe for ssh");
    for (int k = 0; k < STREAMS; k++) {
        if (there[k] >= 0) {
            close(there[k]);
        }
    }
    if (rc == 0 && watch(h, err) != 0) {
        uv_launch_host_kill(h);
    }
    return rc;
}

struct sent {
    uv_write_t request;
    char data[];
};

static void on_sent(uv_write_t *request, int status)
{
    (void)status; /* its end tells */
    free(request->data);
}

void uv_launch_host_send(struct uv_launch_host *h, const void *data, size_t len)
{
    if (!h->is_running) {
        return;
    }
    struct sent *sent = mu_alloc(sizeof(*sent) + len);
    memcpy(sent->data, data, len);
    sent->request.data = sent;
    uv_buf_t buf = uv_buf_init(sent->data, (unsigned)len);
    if (uv_write(&sent->request, (uv_stream_t *)&h->input, &buf, 1, on_sent) != 0) {
        free(sent);
    }
}

void uv_launch_host_kill(struct uv_launch_host *h)
{
    if (h->is_running) {
        uv_process_kill(&h->process, SIGKILL);
    }
}

/* ---- the end ---- */

static void free_if_closed(struct uv_launch_host *h)
{
    if (!h->is_closing || h->open_handles > 0) {
        return;
    }
    for (int k = 0; k < STREAMS; k++) {
        struct stream *s = &h->streams[k];
        if (s->fd >= 0) {
            close(s->fd);
        }
        uv_capture_fini(&s->capture);
        mu_buf_fini(&s->said);
    }
    free(h);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_launch_host *h = handle->data;
    h->open_handles--;
    free_if_closed(h);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;
    s->host->open_handles--;
    free_if_closed(s->host);
}

void uv_launch_host_close(struct uv_launch_host *h)
{
    if (h == NULL) {
        return;
    }
    uv_launch_host_kill(h);
    h->is_closing = true;
    for (int k = 0; k < STREAMS; k++) {
        stop_polling(&h->streams[k]);
        h->open_handles += uv_capture_close(&h->streams[k].capture, h, on_closed);
    }
    if (h->has_handles) {
        uv_close((uv_handle_t *)&h->process, on_closed);
        uv_close((uv_handle_t *)&h->input, on_closed);
    }
    free_if_closed(h);
}
