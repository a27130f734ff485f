/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/uv_conn.h"

#include "common/uv_reader.h"
#include "muster/addr.h"
#include "muster/limits.h"
#include "muster/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

struct uv_conn {
    struct uv_readable readable;
    const struct uv_conn_handlers *handlers;
    void *arg;
    bool is_reading;
    bool is_finishing;
    bool is_closing;
    bool is_dead; /* `closed` was called, or is about to be */
    uint8_t open_handles;
    uv_tcp_t tcp;
    uv_timer_t *linger; /* owned; only while finishing */
    uv_conn_connected_fn connected;
    void *connected_arg;
    struct teller *teller; /* owned; has a failure to tell in the next turn */
    char peer[INET6_ADDRSTRLEN];
    char local[INET6_ADDRSTRLEN];
    uint16_t peer_port;
};

/* A failure that was found inside a call of ours, and is told from the loop. */
struct teller {
    uv_idle_t idle;
    struct uv_conn *conn;
    struct mu_err failure;
};

/* Bytes on their way: a copy, or (`sent` is set) somebody's, who is told when they may go. */
struct write_request {
    uv_write_t req;
    struct uv_conn *conn;
    uv_conn_sent_fn sent;
    void *sent_arg;
    char bytes[];
};

enum {
    TRIED_AT_ONCE = 64, /* buffers of a write that is tried */
    READS_AT_ONCE = 4,
};

/* All connections read into one buffer: there is one thread, and handlers copy what they keep. */
static char read_buffer[64 * 1024];

static void on_handle_closed(struct uv_conn *c)
{
    if (--c->open_handles == 0) {
        free(c);
    }
}

static void on_tcp_closed(uv_handle_t *handle)
{
    on_handle_closed(handle->data);
}

static void on_linger_closed(uv_handle_t *handle)
{
    struct uv_conn *c = handle->data;
    free(handle);
    on_handle_closed(c);
}

static void on_teller_closed(uv_handle_t *handle)
{
    struct teller *t = handle->data;
    on_handle_closed(t->conn);
    free(t);
}

static void stop_teller(struct uv_conn *c)
{
    if (c->teller != NULL) {
        uv_close((uv_handle_t *)&c->teller->idle, on_teller_closed);
        c->teller = NULL;
    }
}

void uv_conn_close(struct uv_conn *c)
{
    MU_REQUIRE(!c->is_closing);
    c->is_closing = true;
    uv_reader_forget(&c->readable);
    stop_teller(c);
    if (c->linger != NULL) {
        uv_close((uv_handle_t *)c->linger, on_linger_closed);
        c->linger = NULL;
    }
    uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
}

void uv_conn_reset(struct uv_conn *c)
{
    const struct linger at_once = {.l_onoff = 1};
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    }
    uv_conn_close(c);
}

/* The end of the connection, found in a callback of the loop. */
static void tell_closed(struct uv_conn *c, const struct mu_err *why)
{
    if (c->is_closing) {
        return;
    }
    if (c->is_finishing) {
        uv_conn_close(c);
        return;
    }
    if (c->is_dead) {
        return;
    }
    c->is_dead = true;
    c->is_reading = false;
    if (c->handlers != NULL) {
        c->handlers->closed(c->arg, why);
    }
}

static void on_tell(uv_idle_t *idle)
{
    struct teller *t = idle->data;
    struct uv_conn *c = t->conn;
    struct mu_err why = t->failure;
    stop_teller(c);
    tell_closed(c, &why);
}

/* The same, found inside a call of ours: told in the next turn of the loop. */
static void fail_later(struct uv_conn *c, enum mu_err_code code, int sys, const char *what)
{
    if (c->is_dead || c->is_closing || c->teller != NULL) {
        return;
    }
    struct teller *t = mu_alloc(sizeof(*t));
    t->conn = c;
    mu_err_set(&t->failure, code, sys, "%s", what);
    uv_idle_init(c->tcp.loop, &t->idle);
    t->idle.data = t;
    c->teller = t;
    c->open_handles++;
    uv_idle_start(&t->idle, on_tell);
}

static struct uv_conn *conn_new(uv_loop_t *loop, struct mu_err *err)
{
    struct uv_conn *c = mu_alloc(sizeof(*c));
    int rc = uv_tcp_init(loop, &c->tcp);
    if (rc != 0) {
        free(c);
        mu_err_set(err, MU_E_SYSTEM, -rc, "make a socket");
        return NULL;
    }
    c->tcp.data = c;
    c->open_handles = 1;
    snprintf(c->peer, sizeof(c->peer), "?");
    return c;
}

static void learn_peer(struct uv_conn *c)
{
    struct sockaddr_storage addr;
    int len = sizeof(addr);
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&addr, &len) == 0) {
        mu_addr_format_host((struct sockaddr *)&addr, c->peer, sizeof(c->peer));
        c->peer_port = mu_addr_port((struct sockaddr *)&addr);
    }
}

struct uv_conn *uv_conn_accept(uv_stream_t *listener, struct mu_err *err)
{
    struct uv_conn *c = conn_new(listener->loop, err);
    if (c == NULL) {
        return NULL;
    }
    int rc = uv_accept(listener, (uv_stream_t *)&c->tcp);
    if (rc != 0) {
        mu_err_set(err, MU_E_SYSTEM, -rc, "accept a connection");
        uv_conn_close(c);
        return NULL;
    }
    learn_peer(c);
    return c;
}

static void on_connected(uv_connect_t *req, int status)
{
    struct uv_conn *c = req->data;
    free(req);
    if (c->is_closing) {
        return;
    }
    struct mu_err err = MU_ERR_INIT;
    if (status == 0) {
        learn_peer(c);
        uv_tcp_nodelay(&c->tcp, 1);
    } else {
        mu_err_set(&err, MU_E_CONNECT, 0, "%s", uv_strerror(status));
        err.sys = -status; /* not twice in the text */
    }
    c->connected(c->connected_arg, status == 0 ? NULL : &err);
}

struct uv_conn *uv_conn_connect(uv_loop_t *loop, const struct sockaddr *addr,
                                uv_conn_connected_fn connected, void *arg, struct mu_err *err)
{
    struct uv_conn *c = conn_new(loop, err);
    if (c == NULL) {
        return NULL;
    }
    c->connected = connected;
    c->connected_arg = arg;
    uv_connect_t *req = mu_alloc(sizeof(*req));
    req->data = c;
    int rc = uv_tcp_connect(req, &c->tcp, addr, on_connected);
    if (rc != 0) {
        free(req);
        mu_err_set(err, MU_E_CONNECT, -rc, "connect");
        uv_conn_close(c);
        return NULL;
    }
    return c;
}

/* What has come, in as many pieces as it takes; a few, for others wait too. */
static void on_ready(struct uv_readable *r, bool has_ended)
{
    struct uv_conn *c = mu_container_of(r, struct uv_conn, readable);
    for (int i = 0; c->is_reading && r->reader != NULL; i++) {
        if (i == READS_AT_ONCE) {
            uv_reader_again(r);
            return;
        }
        ssize_t n = read(r->fd, read_buffer, sizeof(read_buffer));
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (errno == EINTR) {
                continue;
            }
            return;
        }
        if (n <= 0) {
            struct mu_err why = MU_ERR_INIT;
            mu_err_set(&why, MU_E_LOST, n < 0 ? errno : 0, "%s",
                       n < 0 ? "connection lost" : "connection closed");
            tell_closed(c, &why);
            return;
        }
        if (!c->is_finishing && !c->is_dead) {
            c->handlers->data(c->arg, (const uint8_t *)read_buffer, (size_t)n);
        }
        if ((size_t)n < sizeof(read_buffer) && !has_ended) {
            return; /* there was no more; what comes now is told */
        }
    }
}

static void start_reading(struct uv_conn *c)
{
    if (c->is_reading || c->is_closing) {
        return;
    }
    c->is_reading = true;
    if (c->readable.reader != NULL) {
        uv_reader_again(&c->readable);
        return;
    }
    c->readable.fd = uv_conn_descriptor(c);
    c->readable.ready = on_ready;
    int rc = uv_reader_watch(c->tcp.loop, &c->readable);
    if (rc != 0) {
        fail_later(c, MU_E_LOST, -rc, "watch the connection");
    }
}

void uv_conn_set_handlers(struct uv_conn *c, const struct uv_conn_handlers *handlers, void *arg)
{
    c->handlers = handlers;
    c->arg = arg;
    start_reading(c);
}

void uv_conn_pause(struct uv_conn *c)
{
    c->is_reading = false;
}

void uv_conn_resume(struct uv_conn *c)
{
    if (!c->is_dead) {
        start_reading(c);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct write_request *w = mu_container_of(req, struct write_request, req);
    struct uv_conn *c = w->conn;
    if (status != 0 && status != UV_ECANCELED) {
        struct mu_err why = MU_ERR_INIT;
        mu_err_set(&why, MU_E_LOST, -status, "write");
        tell_closed(c, &why);
    }
    if (w->sent != NULL) {
        w->sent(w->sent_arg);
    }
    free(w);
}

/* Hand the buffers to the kernel as it takes them; false if that cannot be. Takes `w`. */
static bool start_write(struct uv_conn *c, struct write_request *w, const uv_buf_t *bufs,
                        size_t count)
{
    w->conn = c;
    int rc = uv_write(&w->req, (uv_stream_t *)&c->tcp, bufs, (unsigned)count, on_written);
    if (rc != 0) {
        free(w);
        fail_later(c, MU_E_LOST, -rc, "write");
    }
    return rc == 0;
}

size_t uv_conn_try_send(struct uv_conn *c, const struct mu_slice *slices, size_t count)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    if (c->is_dead || c->is_closing || stream->write_queue_size > 0) {
        return 0;
    }
    uv_buf_t bufs[TRIED_AT_ONCE];
    count = count < TRIED_AT_ONCE ? count : TRIED_AT_ONCE;
    for (size_t i = 0; i < count; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)slices[i].ptr, (unsigned)slices[i].len);
    }
    int n = uv_try_write(stream, bufs, (unsigned)count);
    if (n < 0 && n != UV_EAGAIN) {
        fail_later(c, MU_E_LOST, -n, "write");
    }
    return n > 0 ? (size_t)n : 0;
}

bool uv_conn_send_kept(struct uv_conn *c, const struct mu_slice *slices, size_t count,
                       uv_conn_sent_fn sent, void *arg)
{
    if (c->is_dead || c->is_closing) {
        return false;
    }
    uv_buf_t *bufs = mu_calloc(count, sizeof(*bufs));
    for (size_t i = 0; i < count; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)slices[i].ptr, (unsigned)slices[i].len);
    }
    struct write_request *w = mu_alloc(sizeof(*w));
    w->sent = sent;
    w->sent_arg = arg;
    bool is_started = start_write(c, w, bufs, count);
    free(bufs); /* libuv has a copy of the list */
    return is_started;
}

void uv_conn_send(struct uv_conn *c, const void *data, size_t len)
{
    struct mu_slice rest = {.ptr = data, .len = len};
    size_t done = len > 0 ? uv_conn_try_send(c, &rest, 1) : 0;
    rest.ptr += done;
    rest.len -= done;
    if (c->is_dead || c->is_closing || c->teller != NULL || rest.len == 0) {
        return;
    }
    if (uv_conn_unsent(c) + rest.len > MU_CONN_WRITE_HIGH) {
        fail_later(c, MU_E_LIMIT, 0, "the peer does not read what it is sent");
        return;
    }
    struct write_request *w = mu_alloc(sizeof(*w) + rest.len);
    memcpy(w->bytes, rest.ptr, rest.len);
    uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)rest.len);
    start_write(c, w, &buf, 1);
}

size_t uv_conn_unsent(const struct uv_conn *c)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);
}

static void set_timeout(uv_tcp_t *tcp, int64_t timeout_ms)
{
    int seconds = timeout_ms >= 4000 ? (int)(timeout_ms / 2000) : 1;
    uv_os_fd_t fd;
    uv_tcp_keepalive(tcp, 1, (unsigned)seconds);
    if (uv_fileno((const uv_handle_t *)tcp, &fd) == 0) {
        int probes = 3;
        int every = seconds > 3 ? seconds / 3 : 1;
        unsigned in_flight = (unsigned)timeout_ms;
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &in_flight, sizeof(in_flight));
    }
}

void uv_conn_set_timeout(struct uv_conn *c, int64_t timeout_ms)
{
    set_timeout(&c->tcp, timeout_ms);
}

void uv_conn_prepare_listener(uv_tcp_t *listener, int64_t timeout_ms)
{
    uv_tcp_nodelay(listener, 1);
    set_timeout(listener, timeout_ms);
}

const char *uv_conn_peer(const struct uv_conn *c)
{
    return c->peer;
}

const char *uv_conn_local(struct uv_conn *c)
{
    struct sockaddr_storage addr;
    int len = sizeof(addr);
    if (c->local[0] == '\0') { /* few are ever asked */
        snprintf(c->local, sizeof(c->local), "?");
        if (uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&addr, &len) == 0) {
            mu_addr_format_host((struct sockaddr *)&addr, c->local, sizeof(c->local));
        }
    }
    return c->local;
}

uint16_t uv_conn_peer_port(const struct uv_conn *c)
{
    return c->peer_port;
}

int uv_conn_descriptor(const struct uv_conn *c)
{
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 ? fd : -1;
}

static void on_linger_over(uv_timer_t *timer)
{
    struct uv_conn *c = timer->data;
    if (!c->is_closing) {
        uv_conn_close(c);
    }
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct uv_conn *c = req->data;
    free(req);
    if (status != 0 && !c->is_closing) {
        uv_conn_close(c);
    }
}

void uv_conn_finish(struct uv_conn *c, int64_t linger_ms)
{
    MU_REQUIRE(!c->is_closing && !c->is_finishing);
    c->is_finishing = true;
    c->handlers = NULL;
    if (c->is_dead) {
        uv_conn_close(c);
        return;
    }
    uv_shutdown_t *req = mu_alloc(sizeof(*req));
    req->data = c;
    if (uv_shutdown(req, (uv_stream_t *)&c->tcp, on_shutdown) != 0) {
        free(req);
        uv_conn_close(c);
        return;
    }
    start_reading(c);
    c->linger = mu_alloc(sizeof(*c->linger));
    uv_timer_init(c->tcp.loop, c->linger);
    c->linger->data = c;
    c->open_handles++;
    uv_timer_start(c->linger, on_linger_over, (uint64_t)linger_ms, 0);
}
