/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection: opened, copied, closed. The calls are in store_client_query.c,
 * store_client_queue.c and store_client_wait.c.
 */
#include "muster/store_client.h"

#include "muster/mem.h"
#include "rendezvous/store_client_impl.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_PAUSE_MS = 5, LAST_PAUSE_MS = 500 };

static int shake_hands(struct store_conn *c, struct store_io_limit *limit, struct mu_err *err)
{
    uint32_t nonce = (uint32_t)getpid();
    uint32_t answer;
    c->request.len = 0;
    mu_buf_append_u8(&c->request, C10D_VALIDATE);
    mu_buf_append_u32(&c->request, C10D_MAGIC);
    mu_buf_append_u8(&c->request, C10D_PING);
    mu_buf_append_u32(&c->request, nonce);
    if (store_io_send(c->fd, c->request.data, c->request.len, limit, err) != 0 ||
        store_io_recv(c->fd, &answer, sizeof(answer), limit, err) != 0) {
        return mu_err_wrap(err, "handshake");
    }
    if (le32toh(answer) != nonce) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "what answers there is no TCPStore");
    }
    return 0;
}

/* One attempt; the descriptor is closed again if it fails. */
static int try_to_connect(struct store_conn *c, struct store_io_limit *limit, struct mu_err *err)
{
    c->fd = store_io_connect(c->host, c->port, limit, err);
    if (c->fd < 0) {
        return -1;
    }
    if (shake_hands(c, limit, err) != 0) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }
    return 0;
}

/*
 * A server that is not up yet refuses; one that is just going down closes: both can be waited out.
 */
static int connect_until(struct store_conn *c, struct mu_err *err)
{
    struct store_io_limit limit = store_call_limit(c, c->timeout_ms, 0);
    int64_t pause_ms = FIRST_PAUSE_MS;
    struct mu_err why = MU_ERR_INIT;
    if (c->cancel != NULL && store_cancel_is_raised(c->cancel)) {
        return mu_err_set(err, MU_E_CANCELED, 0, "store %s: cancelled", c->name);
    }
    do {
        struct mu_err e = MU_ERR_INIT;
        if (try_to_connect(c, &limit, &e) == 0) {
            return 0;
        }
        if (e.code == MU_E_PROTOCOL || e.code == MU_E_CANCELED) {
            return mu_err_set(err, e.code, 0, "store %s: %s", c->name, e.text);
        }
        /* An attempt that only ran out of time tells less than the one before. */
        bool is_cut_short = e.code == MU_E_TIMEOUT || e.sys == ETIMEDOUT;
        if (why.code == MU_E_NONE || !is_cut_short) {
            why = e;
        }
        store_io_pause(pause_ms, &limit);
        pause_ms = pause_ms * 2 < LAST_PAUSE_MS ? pause_ms * 2 : LAST_PAUSE_MS;
    } while (!limit.is_canceled && store_io_now_ms() < limit.deadline_ms);
    if (limit.is_canceled) {
        return mu_err_set(err, MU_E_CANCELED, 0, "store %s: cancelled; before: %s", c->name,
                          why.text);
    }
    return mu_err_set(err, why.code == MU_E_TIMEOUT ? MU_E_TIMEOUT : MU_E_CONNECT, 0,
                      "store %s: %s (tried for %" PRId64 " ms)", c->name, why.text, c->timeout_ms);
}

struct store_conn *store_conn_open_cancelable(const char *host, uint16_t port, const char *prefix,
                                              int64_t timeout_ms, struct store_cancel *cancel,
                                              struct mu_err *err)
{
    struct store_conn *c = mu_alloc(sizeof(*c));
    c->fd = -1;
    c->host = mu_strdup(host);
    c->port = port;
    c->name = mu_asprintf(strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    c->cancel = cancel;
    c->has_prefix = prefix != NULL;
    mu_buf_append_u8(&c->start, '/');
    if (prefix != NULL) {
        mu_buf_append(&c->start, prefix, strlen(prefix));
        mu_buf_append_u8(&c->start, '/');
    }
    store_conn_set_timeout(c, timeout_ms);
    if (connect_until(c, err) != 0) {
        store_conn_close(c);
        return NULL;
    }
    return c;
}

struct store_conn *store_conn_open(const char *host, uint16_t port, const char *prefix,
                                   int64_t timeout_ms, struct mu_err *err)
{
    return store_conn_open_cancelable(host, port, prefix, timeout_ms, NULL, err);
}

struct store_conn *store_conn_clone(const struct store_conn *c, struct mu_err *err)
{
    /* `start` is "/", or "/prefix/". */
    mu_autofree char *prefix =
        c->has_prefix ? mu_strndup((const char *)c->start.data + 1, c->start.len - 2) : NULL;
    return store_conn_open_cancelable(c->host, c->port, prefix, c->timeout_ms, c->cancel, err);
}

void store_conn_close(struct store_conn *c)
{
    if (c == NULL) {
        return;
    }
    if (c->fd >= 0) {
        close(c->fd);
    }
    mu_buf_fini(&c->start);
    mu_buf_fini(&c->request);
    free(c->host);
    free(c->name);
    free(c);
}

void store_conn_set_timeout(struct store_conn *c, int64_t timeout_ms)
{
    c->timeout_ms = timeout_ms > 0 ? timeout_ms : 1;
}
