/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_liveness.h"

#include "muster/mem.h"
#include "muster/uv_conn.h"

#include <netinet/in.h>
#include <string.h>

enum {
    MAX_CALLERS = 16, /* at a time; probes come one by one */
    MAX_HEADER = 8192,
    CALL_MS = 5000, /* for the whole of it */
    LINGER_MS = 500,
    BACKLOG = 64,
};

struct caller {
    struct uv_conn *conn; /* owned; NULL: the place is free */
    int64_t deadline_ms;
    size_t received;
    unsigned line_len; /* of the line that is being received */
};

struct uv_liveness {
    uv_tcp_t listener;
    uv_timer_t timer; /* runs while somebody calls */
    struct caller callers[MAX_CALLERS];
    uint32_t open_handles;
};

static void hang_up(struct caller *c)
{
    uv_conn_close(c->conn);
    c->conn = NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct uv_liveness *l = timer->data;
    int64_t now = (int64_t)uv_now(timer->loop);
    bool is_anybody_left = false;
    for (size_t i = 0; i < MAX_CALLERS; i++) {
        struct caller *c = &l->callers[i];
        if (c->conn != NULL && c->deadline_ms <= now) {
            hang_up(c);
        }
        is_anybody_left = is_anybody_left || c->conn != NULL;
    }
    if (!is_anybody_left) {
        uv_timer_stop(timer);
    }
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                 "Content-Length: 0\r\nConnection: close\r\n\r\n";
    struct caller *c = arg;
    c->received += len;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n' && c->line_len == 0) {
            uv_conn_send(c->conn, answer, sizeof(answer) - 1);
            uv_conn_finish(c->conn, LINGER_MS);
            c->conn = NULL;
            return;
        }
        c->line_len = data[i] == '\n' ? 0 : c->line_len + (data[i] == '\r' ? 0 : 1);
    }
    if (c->received > MAX_HEADER) {
        hang_up(c);
    }
}

static void on_conn_closed(void *arg, const struct mu_err *why)
{
    (void)why;
    hang_up(arg);
}

static void on_connection(uv_stream_t *listener, int status)
{
    static const struct uv_conn_handlers handlers = {.data = on_data, .closed = on_conn_closed};
    struct uv_liveness *l = listener->data;
    struct mu_err err = MU_ERR_INIT;
    struct uv_conn *conn = status == 0 ? uv_conn_accept(listener, &err) : NULL;
    if (conn == NULL) {
        return;
    }
    for (size_t i = 0; i < MAX_CALLERS; i++) {
        struct caller *c = &l->callers[i];
        if (c->conn == NULL) {
            int64_t now = (int64_t)uv_now(listener->loop);
            *c = (struct caller){.conn = conn, .deadline_ms = now + CALL_MS};
            uv_conn_set_handlers(conn, &handlers, c);
            if (!uv_is_active((uv_handle_t *)&l->timer)) {
                uv_timer_start(&l->timer, on_timer, CALL_MS, CALL_MS / 5);
            }
            return;
        }
    }
    uv_conn_close(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_liveness *l = handle->data;
    if (--l->open_handles == 0) {
        free(l);
    }
}

static int listen_on(struct uv_liveness *l, uint16_t port)
{
    /* One socket for both families; without IPv6, one for IPv4. */
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int rc = uv_tcp_bind(&l->listener, (const struct sockaddr *)&six, 0);
    if (rc == UV_EAFNOSUPPORT) {
        rc = uv_tcp_bind(&l->listener, (const struct sockaddr *)&four, 0);
    }
    return rc != 0 ? rc : uv_listen((uv_stream_t *)&l->listener, BACKLOG, on_connection);
}

struct uv_liveness *uv_liveness_open(uv_loop_t *loop, uint16_t port, struct mu_err *err)
{
    struct uv_liveness *l = mu_alloc(sizeof(*l));
    uv_timer_init(loop, &l->timer);
    uv_tcp_init(loop, &l->listener);
    l->timer.data = l;
    l->listener.data = l;
    l->open_handles = 2;
    int rc = listen_on(l, port);
    if (rc != 0) {
        mu_err_set(err, MU_E_CONNECT, -rc, "listen on port %u", port);
        uv_liveness_close(l);
        return NULL;
    }
    return l;
}

void uv_liveness_close(struct uv_liveness *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < MAX_CALLERS; i++) {
        if (l->callers[i].conn != NULL) {
            hang_up(&l->callers[i]);
        }
    }
    uv_close((uv_handle_t *)&l->listener, on_closed);
    uv_close((uv_handle_t *)&l->timer, on_closed);
}
