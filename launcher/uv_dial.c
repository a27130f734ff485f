/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_dial.h"

#include "muster/mem.h"

#include <errno.h>
#include <netdb.h>

enum { MAX_ADDRESSES = 16, ADDRESS_TIMEOUT_MS = 5000 };

struct uv_dial {
    uv_loop_t *loop;
    struct mu_endpoint endpoint;
    const struct uv_dial_handlers *handlers;
    void *arg;
    struct sockaddr_storage addrs[MAX_ADDRESSES];
    size_t count;
    size_t next;
    struct uv_conn *conn; /* owned; under way */
    struct mu_err failure;
    uv_getaddrinfo_t lookup;
    uv_timer_t timer; /* patience with one address; also defers what is known at once */
    bool is_looking_up;
    bool is_closing;
    bool is_timer_closed;
};

static void try_next(struct uv_dial *d);

static void maybe_free(struct uv_dial *d)
{
    if (d->is_closing && d->is_timer_closed && !d->is_looking_up) {
        free(d);
    }
}

/* What a reason means, and what to do about it. */
static const char *advice(int sys)
{
    switch (sys) {
    case ECONNREFUSED:
        return ": nothing listens there (is that node's agent running? is --rdzv-endpoint right?)";
    case ENETUNREACH:
    case EHOSTUNREACH:
        return ": no route, or no such host (is --rdzv-endpoint right?)";
    default:
        return "";
    }
}

static void fail(struct uv_dial *d)
{
    struct mu_err failure = d->failure;
    mu_err_set(&d->failure, failure.code, 0, "%s%s", failure.text, advice(failure.sys));
    d->failure.sys = failure.sys;
    d->handlers->failed(d->arg, &d->failure);
}

static void on_connected(void *arg, const struct mu_err *failure)
{
    struct uv_dial *d = arg;
    struct uv_conn *conn = d->conn;
    d->conn = NULL;
    uv_timer_stop(&d->timer);
    if (failure == NULL) {
        d->handlers->connected(d->arg, conn);
        return;
    }
    d->failure = *failure;
    uv_conn_close(conn);
    try_next(d);
}

static void on_address_timeout(uv_timer_t *timer)
{
    struct uv_dial *d = timer->data;
    uv_conn_close(d->conn);
    d->conn = NULL;
    mu_err_set(
        &d->failure, MU_E_TIMEOUT, 0,
        "no answer at all: wrong address, no route, or a firewall (is --rdzv-endpoint right?)");
    try_next(d);
}

static void try_next(struct uv_dial *d)
{
    while (d->next < d->count) {
        const struct sockaddr *addr = (const struct sockaddr *)&d->addrs[d->next++];
        d->conn = uv_conn_connect(d->loop, addr, on_connected, d, &d->failure);
        if (d->conn != NULL) {
            uv_timer_start(&d->timer, on_address_timeout, ADDRESS_TIMEOUT_MS, 0);
            return;
        }
    }
    fail(d);
}

static void try_all(struct uv_dial *d)
{
    d->next = 0;
    d->handlers->resolved(d->arg, d->addrs, d->count);
    if (!d->is_closing) {
        try_next(d);
    }
}

static void on_numeric(uv_timer_t *timer)
{
    try_all(timer->data);
}

static void on_lookup_failed(uv_timer_t *timer)
{
    struct uv_dial *d = timer->data;
    d->handlers->failed(d->arg, &d->failure);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct uv_dial *d = req->data;
    d->is_looking_up = false;
    if (d->is_closing) {
        uv_freeaddrinfo(list);
        maybe_free(d);
        return;
    }
    d->count = 0;
    for (const struct addrinfo *a = list; a != NULL && d->count < MAX_ADDRESSES; a = a->ai_next) {
        memcpy(&d->addrs[d->count++], a->ai_addr, a->ai_addrlen);
    }
    uv_freeaddrinfo(list);
    if (status != 0 || d->count == 0) {
        mu_err_set(&d->failure, MU_E_CONNECT, 0,
                   "the name '%s' does not resolve: %s (is --rdzv-endpoint right?)",
                   d->endpoint.host, status != 0 ? uv_strerror(status) : "no address");
        d->handlers->failed(d->arg, &d->failure);
        return;
    }
    try_all(d);
}

struct uv_dial *uv_dial_new(uv_loop_t *loop, const struct mu_endpoint *endpoint,
                            const struct uv_dial_handlers *handlers, void *arg)
{
    struct uv_dial *d = mu_alloc(sizeof(*d));
    d->loop = loop;
    d->endpoint = *endpoint;
    d->handlers = handlers;
    d->arg = arg;
    d->lookup.data = d;
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    return d;
}

void uv_dial_start(struct uv_dial *d)
{
    MU_REQUIRE(d->conn == NULL && !d->is_looking_up);
    const struct mu_endpoint *e = &d->endpoint;
    if (mu_addr_from_numeric(e->host, e->port, &d->addrs[0]) == 0) {
        d->count = 1;
        uv_timer_start(&d->timer, on_numeric, 0, 0);
        return;
    }
    /* localhost needs no look-up, which would cost four threads and a millisecond. */
    if (mu_addr_is_loopback_name(e->host)) {
        mu_addr_from_numeric("127.0.0.1", e->port, &d->addrs[0]);
        mu_addr_from_numeric("::1", e->port, &d->addrs[1]);
        d->count = 2;
        uv_timer_start(&d->timer, on_numeric, 0, 0);
        return;
    }
    char port[8];
    snprintf(port, sizeof(port), "%u", e->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int rc = uv_getaddrinfo(d->loop, &d->lookup, on_resolved, e->host, port, &hints);
    if (rc != 0) {
        mu_err_set(&d->failure, MU_E_CONNECT, -rc, "look up '%s'", e->host);
        uv_timer_start(&d->timer, on_lookup_failed, 0, 0);
        return;
    }
    d->is_looking_up = true;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct uv_dial *d = handle->data;
    d->is_timer_closed = true;
    maybe_free(d);
}

void uv_dial_close(struct uv_dial *d)
{
    if (d == NULL) {
        return;
    }
    d->is_closing = true;
    if (d->conn != NULL) {
        uv_conn_close(d->conn);
        d->conn = NULL;
    }
    if (d->is_looking_up) {
        uv_cancel((uv_req_t *)&d->lookup);
    }
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}
