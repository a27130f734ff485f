/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_output.h"

#include "launcher/descriptors.h"
#include "launcher/line_filter.h"
#include "launcher/uv_capture.h"
#include "launcher/uv_file.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILES_HIGH = 64 * 1024 * 1024, /* bytes that all log files together may have queued ... */
    FILE_HIGH_MIN = 64 * 1024,     /* but each of them this many, ... */
    FILE_HIGH_MAX = 1024 * 1024,   /* and none more than this */
    FILE_SCAN = 4 * 1024 * 1024,   /* of a log file, for a traceback */
    GROWING_MAX = 64, /* workers whose pipes may grow: users have 64 MB for all their pipes */
};

struct stream {
    int fd_here;          /* read end of a pipe; -1: none, or the capture's */
    struct uv_file *file; /* owned until the capture takes it */
    struct uv_capture capture;
};

struct uv_output {
    uv_loop_t *loop;
    struct output_plan plan;
    struct uv_out *consoles[OUTPUT_STREAMS]; /* borrowed */
    struct stream *streams[OUTPUT_STREAMS];  /* owned; by local rank */
    int *fds_there[OUTPUT_STREAMS];          /* owned; the workers' ends, -1: none */
    struct line_filter filters[OUTPUT_STREAMS];
    struct uv_file *filtered[OUTPUT_STREAMS]; /* owned; NULL: none */
    struct mu_buf scratch;                    /* of the captures */
    unsigned open_handles;
    bool is_closing;
};

static const char *const stream_names[OUTPUT_STREAMS] = {"standard output", "standard error"};

static void on_file_failed(void *arg, const char *path, int error)
{
    (void)arg;
    mu_log(MU_LOG_WARN, "log file %s: %s; the job goes on, what comes now is not logged there",
           path, strerror(error));
}

static int fail_open(uint32_t rank, int stream, int error, struct mu_err *err)
{
    return mu_err_set(err, MU_E_SYSTEM, error, "%s of worker %u%s", stream_names[stream], rank,
                      error == EMFILE ? ": the limit on open files (ulimit -n) is too low" : "");
}

static size_t file_high(const struct uv_output *o)
{
    size_t share = FILES_HIGH / (OUTPUT_STREAMS * o->plan.count);
    share = share > FILE_HIGH_MIN ? share : FILE_HIGH_MIN;
    return share < FILE_HIGH_MAX ? share : FILE_HIGH_MAX;
}

static struct uv_file *open_log(struct uv_output *o, const char *path, struct mu_err *err)
{
    struct uv_file_spec spec = {.path = path, .high = file_high(o), .failed = on_file_failed};
    return uv_file_open(o->loop, &spec, err);
}

static int open_stream(struct uv_output *o, uint32_t rank, int k, struct mu_err *err)
{
    const struct output_stream *plan = &o->plan.workers[rank].streams[k];
    struct stream *s = &o->streams[k][rank];
    int *there = &o->fds_there[k][rank];
    switch (plan->route) {
    case OUTPUT_INHERIT:
        return 0;
    case OUTPUT_NOWHERE:
        *there = open("/dev/null", O_WRONLY | O_CLOEXEC);
        return *there >= 0 ? 0 : fail_open(rank, k, errno, err);
    case OUTPUT_FILE:
        *there =
            open(plan->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
        return *there >= 0 ? 0 : mu_err_set(err, MU_E_SYSTEM, errno, "log file %s", plan->path);
    case OUTPUT_CAPTURE:
        if (descriptors_open_pipe(&s->fd_here, there) != 0) {
            return fail_open(rank, k, errno, err);
        }
        s->file = plan->path != NULL ? open_log(o, plan->path, err) : NULL;
        return plan->path == NULL || s->file != NULL ? 0 : -1;
    }
    return 0;
}

static int open_all(struct uv_output *o, struct mu_err *err)
{
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        if (o->plan.filtered_paths[k] != NULL) {
            line_filter_init(&o->filters[k], o->plan.filters[k]);
            o->filtered[k] = open_log(o, o->plan.filtered_paths[k], err);
            if (o->filtered[k] == NULL) {
                return -1;
            }
        }
        for (uint32_t i = 0; i < o->plan.count; i++) {
            if (open_stream(o, i, k, err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

struct uv_output *uv_output_open(uv_loop_t *loop, struct output_plan *plan,
                                 struct uv_out *const consoles[OUTPUT_STREAMS], struct mu_err *err)
{
    if (descriptors_check_standard(err) != 0) {
        output_plan_fini(plan);
        return NULL;
    }
    struct uv_output *o = mu_alloc(sizeof(*o));
    *o = (struct uv_output){.loop = loop, .plan = *plan};
    *plan = (struct output_plan){0};
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        o->consoles[k] = consoles[k];
        o->streams[k] = mu_calloc(o->plan.count, sizeof(*o->streams[k]));
        o->fds_there[k] = mu_calloc(o->plan.count, sizeof(*o->fds_there[k]));
        for (size_t i = 0; i < o->plan.count; i++) {
            o->streams[k][i].fd_here = -1;
            o->fds_there[k][i] = -1;
        }
    }
    if (open_all(o, err) != 0) {
        uv_output_close(o);
        return NULL;
    }
    return o;
}

const int *uv_output_worker_fds(const struct uv_output *o, int stream)
{
    return o->fds_there[stream];
}

static void close_workers_ends(struct uv_output *o)
{
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        for (size_t i = 0; i < o->plan.count; i++) {
            if (o->fds_there[k][i] >= 0) {
                close(o->fds_there[k][i]);
                o->fds_there[k][i] = -1;
            }
        }
    }
}

static int begin_stream(struct uv_output *o, uint32_t rank, int k, struct mu_err *err)
{
    const struct output_stream *plan = &o->plan.workers[rank].streams[k];
    struct stream *s = &o->streams[k][rank];
    if (plan->route != OUTPUT_CAPTURE) {
        return 0;
    }
    struct uv_capture_sinks sinks = {
        .console = plan->is_on_console ? o->consoles[k] : NULL,
        .prefix = plan->has_prefix   ? o->plan.workers[rank].prefix
                  : plan->is_by_line ? ""
                                     : NULL,
        .file = s->file,
        .filtered = plan->has_prefix ? o->filtered[k] : NULL,
        .filter = &o->filters[k],
        .keeps_tail = k == 1,
        .may_grow_pipe = o->plan.count <= GROWING_MAX,
        .scratch = &o->scratch,
    };
    int fd = s->fd_here;
    s->file = NULL;
    s->fd_here = -1;
    return uv_capture_open(&s->capture, o->loop, fd, &sinks, err);
}

int uv_output_begin(struct uv_output *o, struct mu_err *err)
{
    close_workers_ends(o);
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        for (uint32_t i = 0; i < o->plan.count; i++) {
            if (begin_stream(o, i, k, err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

void uv_output_drain(struct uv_output *o, uint32_t local_rank)
{
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        uv_capture_drain(&o->streams[k][local_rank].capture);
    }
}

static size_t read_file_tail(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return 0;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)size ? end - (off_t)size : 0;
    ssize_t n = end > 0 ? pread(fd, buf, size, from) : 0;
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

size_t uv_output_stderr_tail(const struct uv_output *o, uint32_t local_rank, char *buf, size_t size)
{
    MU_REQUIRE(local_rank < o->plan.count);
    const struct output_stream *plan = &o->plan.workers[local_rank].streams[1];
    if (plan->route == OUTPUT_FILE) {
        return read_file_tail(plan->path, buf, size);
    }
    return tail_ring_copy(&o->streams[1][local_rank].capture.tail, buf, size);
}

/* Of a log file, which nobody has read so far: of its last FILE_SCAN bytes. */
static size_t read_file_trace(const char *path, char *buf, uint64_t *ret_start)
{
    mu_autofree char *piece = mu_alloc(MU_STDERR_TAIL);
    struct tail_ring tail = {0};
    struct trace_keep trace = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return 0;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    off_t first = end > FILE_SCAN ? end - FILE_SCAN : 0;
    ssize_t n = 0;
    for (off_t at = first; at < end; at += n) {
        n = pread(fd, piece, MU_STDERR_TAIL, at);
        if (n <= 0) {
            break;
        }
        trace_keep_add(&trace, &tail, piece, (size_t)n);
        tail_ring_append(&tail, piece, (size_t)n);
    }
    close(fd);
    size_t len = trace_keep_copy(&trace, &tail, buf);
    *ret_start = (uint64_t)first + trace.start;
    trace_keep_fini(&trace);
    tail_ring_fini(&tail);
    return len;
}

size_t uv_output_stderr_trace(const struct uv_output *o, uint32_t local_rank, char *buf,
                              uint64_t *ret_start)
{
    MU_REQUIRE(local_rank < o->plan.count);
    const struct output_stream *plan = &o->plan.workers[local_rank].streams[1];
    if (plan->route == OUTPUT_FILE) {
        return read_file_trace(plan->path, buf, ret_start);
    }
    const struct uv_capture *c = &o->streams[1][local_rank].capture;
    *ret_start = c->trace.start;
    return trace_keep_copy(&c->trace, &c->tail, buf);
}

uint64_t uv_output_stderr_total(const struct uv_output *o, uint32_t local_rank)
{
    MU_REQUIRE(local_rank < o->plan.count);
    const struct output_stream *plan = &o->plan.workers[local_rank].streams[1];
    if (plan->route == OUTPUT_FILE) {
        struct stat st;
        return stat(plan->path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    }
    return uv_capture_total(&o->streams[1][local_rank].capture);
}

const char *uv_output_stderr_file(const struct uv_output *o, uint32_t local_rank)
{
    MU_REQUIRE(local_rank < o->plan.count);
    return o->plan.workers[local_rank].streams[1].path;
}

static void free_output(struct uv_output *o)
{
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        for (size_t i = 0; i < o->plan.count; i++) {
            uv_capture_fini(&o->streams[k][i].capture);
        }
        free(o->streams[k]);
        free(o->fds_there[k]);
        line_filter_fini(&o->filters[k]);
    }
    mu_buf_fini(&o->scratch);
    output_plan_fini(&o->plan);
    free(o);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_output *o = handle->data;
    if (--o->open_handles == 0) {
        free_output(o);
    }
}

/* What the capture never took over. */
static void close_unused(struct stream *s)
{
    uv_file_close(s->file);
    if (s->fd_here >= 0) {
        close(s->fd_here);
    }
}

void uv_output_close(struct uv_output *o)
{
    if (o == NULL) {
        return;
    }
    MU_REQUIRE(!o->is_closing);
    o->is_closing = true;
    close_workers_ends(o);
    for (int k = 0; k < OUTPUT_STREAMS; k++) {
        for (size_t i = 0; i < o->plan.count; i++) {
            struct stream *s = &o->streams[k][i];
            close_unused(s);
            o->open_handles += uv_capture_close(&s->capture, o, on_closed);
        }
        uv_file_close(o->filtered[k]);
    }
    if (o->open_handles == 0) {
        free_output(o);
    }
}
