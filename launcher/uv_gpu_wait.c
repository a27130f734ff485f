/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_gpu_wait.h"

#include "launcher/gpu_holders.h"
#include "launcher/gpu_memory.h"
#include "muster/limits.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PAUSE_MIN_MS = 50, /* between two looks: half as much again each time, up to ... */
    PAUSE_MAX_MS = 500,
    END_WAIT_MS = 500, /* for the thread, at the end: a call of NVML takes milliseconds */
    STACK_BYTES = 2 * 1024 * 1024,
};

enum request_kind { REQUEST_NOTE, REQUEST_WAIT, REQUEST_CANCEL };

struct request {
    enum request_kind kind;
    uint32_t number; /* of the wait */
    uint32_t count;
    pid_t pids[MU_MAX_LOCAL_WORLD]; /* only `count` of them travel */
};

struct report {
    uint32_t number; /* of the wait */
    bool is_free;
    char who[1000]; /* else: who holds how much; cut if need be */
};

/* ---- the thread ---- */

/* The thread's own from the moment it runs. */
struct looker {
    struct host_view host;
    struct gpu_holders *holders;
    bool has_before;
    int fd;
};

static void look_before(struct looker *l)
{
    struct gpu_meter *meter = gpu_meter_open(&l->host);
    l->has_before = true;
    if (meter != NULL) {
        struct gpu_memory memory;
        gpu_meter_read(meter, &memory);
        gpu_holders_set_before(l->holders, &memory);
        gpu_memory_fini(&memory);
        gpu_meter_close(meter);
    }
}

static void note(struct looker *l, const struct request *request)
{
    for (uint32_t i = 0; i < request->count; i++) {
        gpu_holders_add_worker(l->holders, request->pids[i]);
    }
    if (!l->has_before) {
        look_before(l);
    }
}

/* Without a meter there is no way to know, so nothing is waited for. */
static struct report look(struct looker *l, struct gpu_meter *meter, uint32_t number)
{
    struct report report = {.number = number, .is_free = true};
    if (meter != NULL) {
        struct gpu_memory memory;
        struct mu_buf who = {0};
        gpu_meter_read(meter, &memory);
        report.is_free = gpu_holders_judge(l->holders, &memory, &who) == 0;
        snprintf(report.who, sizeof(report.who), "%.*s", (int)who.len,
                 who.len > 0 ? (const char *)who.data : "");
        mu_buf_fini(&who);
        gpu_memory_fini(&memory);
    }
    return report;
}

/* Until the GPUs are free or the next request comes, be it the end of the socket. */
static void wait_until_free(struct looker *l, uint32_t number)
{
    struct gpu_meter *meter = gpu_meter_open(&l->host);
    struct pollfd pollfd = {.fd = l->fd, .events = POLLIN};
    int pause_ms = PAUSE_MIN_MS;
    gpu_holders_begin(l->holders);
    for (;;) {
        struct report report = look(l, meter, number);
        send(l->fd, &report, sizeof(report), MSG_NOSIGNAL);
        if (report.is_free || poll(&pollfd, 1, pause_ms) != 0) {
            break;
        }
        pause_ms += pause_ms / 2;
        pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
    }
    gpu_meter_close(meter);
}

static void *looker_main(void *arg)
{
    struct looker *l = arg;
    struct request *request = mu_alloc(sizeof(*request));
    ssize_t n;
    while ((n = recv(l->fd, request, sizeof(*request), 0)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && request->kind == REQUEST_NOTE) {
            note(l, request);
        } else if (n > 0 && request->kind == REQUEST_WAIT) {
            wait_until_free(l, request->number);
        }
    }
    free(request);
    close(l->fd);
    gpu_holders_free(l->holders);
    free(l);
    return NULL;
}

/* ---- the loop ---- */

struct uv_gpu_wait {
    uv_poll_t poll;
    uv_timer_t timer;
    pthread_t thread;
    int fd;
    uv_gpu_wait_fn over;
    void *arg;
    int64_t timeout_ms;
    uint64_t since_ms;
    uint32_t number; /* of the last wait */
    bool is_waiting;
    bool is_told;       /* in this wait: that it waits */
    bool is_stuck;      /* the thread has not answered since a wait ran out */
    struct report last; /* of this wait, if it has the number */
};

static bool send_request(struct uv_gpu_wait *w, const struct request *request)
{
    size_t len = offsetof(struct request, pids) + request->count * sizeof(request->pids[0]);
    return send(w->fd, request, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

static void end_wait(struct uv_gpu_wait *w)
{
    w->is_waiting = false;
    uv_timer_stop(&w->timer);
}

static void take_report(struct uv_gpu_wait *w)
{
    if (!w->last.is_free) {
        if (!w->is_told) {
            mu_log(MU_LOG_NOTICE, "before the workers start, waiting up to %.1f s for %s",
                   (double)w->timeout_ms / 1e3, w->last.who);
        }
        w->is_told = true;
        return;
    }
    if (w->is_told) {
        mu_log(MU_LOG_NOTICE, "the GPU memory is free after %.1f s",
               (double)(uv_now(w->timer.loop) - w->since_ms) / 1e3);
    }
    end_wait(w);
    w->over(w->arg);
}

static void on_report(uv_poll_t *poll, int status, int events)
{
    struct uv_gpu_wait *w = poll->data;
    (void)status; /* an error shows in the recv */
    (void)events;
    struct report report;
    if (recv(w->fd, &report, sizeof(report), MSG_DONTWAIT) == (ssize_t)sizeof(report)) {
        w->is_stuck = false;
        if (w->is_waiting && report.number == w->number) {
            w->last = report;
            take_report(w); /* the last: w may be closing now */
        }
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct uv_gpu_wait *w = timer->data;
    double span = (double)w->timeout_ms / 1e3;
    if (w->last.number == w->number) {
        mu_log(
            MU_LOG_WARN,
            "after %.1f s (--gpu-free-timeout) this GPU memory is not free, and the workers start "
            "without it: %s",
            span, w->last.who);
    } else {
        w->is_stuck = true;
        mu_log(MU_LOG_WARN,
               "the NVIDIA driver's library has not answered for %.1f s (--gpu-free-timeout): "
               "starting the workers without knowing whether GPU memory is free",
               span);
    }
    uv_gpu_wait_cancel(w);
    w->over(w->arg);
}

static int start_thread(struct uv_gpu_wait *w, const struct uv_gpu_wait_spec *spec, int fd)
{
    struct looker *l = mu_alloc(sizeof(*l));
    *l = (struct looker){
        .host = *spec->host, .holders = gpu_holders_new(spec->host, spec->run_path), .fd = fd};
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's */
    int rc = pthread_create(&w->thread, &attr, looker_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        gpu_holders_free(l->holders);
        free(l);
    }
    return rc;
}

struct uv_gpu_wait *uv_gpu_wait_new(uv_loop_t *loop, const struct uv_gpu_wait_spec *spec,
                                    struct mu_err *err)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        mu_err_set(err, MU_E_SYSTEM, errno, "make a socket");
        return NULL;
    }
    struct uv_gpu_wait *w = mu_alloc(sizeof(*w));
    w->fd = fds[0];
    w->over = spec->over;
    w->arg = spec->arg;
    w->timeout_ms = spec->timeout_ms;
    int rc = start_thread(w, spec, fds[1]);
    if (rc != 0) {
        mu_err_set(err, MU_E_SYSTEM, rc, "make a thread");
        close(fds[0]);
        close(fds[1]);
        free(w);
        return NULL;
    }
    rc = uv_poll_init(loop, &w->poll, w->fd);
    MU_REQUIRE(rc == 0); /* sockets can be watched */
    uv_timer_init(loop, &w->timer);
    w->poll.data = w;
    w->timer.data = w;
    uv_poll_start(&w->poll, UV_READABLE, on_report);
    return w;
}

void uv_gpu_wait_note(struct uv_gpu_wait *w, const pid_t *pids, size_t count)
{
    struct request request = {.kind = REQUEST_NOTE};
    for (size_t i = 0; i < count && request.count < MU_COUNT(request.pids); i++) {
        request.pids[request.count] = pids[i];
        request.count += pids[i] != 0;
    }
    send_request(w, &request);
}

bool uv_gpu_wait_start(struct uv_gpu_wait *w)
{
    MU_REQUIRE(!w->is_waiting);
    struct request request = {.kind = REQUEST_WAIT, .number = w->number + 1};
    if (w->is_stuck || !send_request(w, &request)) {
        return false;
    }
    w->number++;
    w->is_waiting = true;
    w->is_told = false;
    uv_update_time(w->timer.loop);
    w->since_ms = uv_now(w->timer.loop);
    uv_timer_start(&w->timer, on_timeout, (uint64_t)w->timeout_ms, 0);
    return true;
}

void uv_gpu_wait_cancel(struct uv_gpu_wait *w)
{
    if (w != NULL && w->is_waiting) {
        end_wait(w);
        send_request(w, &(struct request){.kind = REQUEST_CANCEL});
    }
}

void uv_gpu_wait_close(struct uv_gpu_wait *w)
{
    if (w == NULL) {
        return;
    }
    w->is_waiting = false;
    uv_close((uv_handle_t *)&w->poll, NULL);
    uv_close((uv_handle_t *)&w->timer, NULL);
    close(w->fd); /* whereupon the thread ends */
}

bool uv_gpu_wait_free(struct uv_gpu_wait *w)
{
    if (w == NULL) {
        return true;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += END_WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    bool has_ended = pthread_timedjoin_np(w->thread, NULL, &until) == 0;
    free(w);
    return has_ended;
}
