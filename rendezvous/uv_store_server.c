/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/uv_store_server.h"

#include "muster/log.h"
#include "muster/mem.h"

#include <sys/queue.h>

struct client {
    struct store_client store_client;
    struct uv_store_server *server;
    struct uv_conn *conn; /* owned */
    TAILQ_ENTRY(client) link;
};

struct uv_store_server {
    struct store *store; /* owned */
    TAILQ_HEAD(client_list, client) clients;
};

enum { CLIENT_LINGER_MS = 1000, KEEP_OUT_BUFFER = 4096 };

struct uv_store_server *uv_store_server_new(uint64_t max_bytes)
{
    struct uv_store_server *s = mu_alloc(sizeof(*s));
    s->store = store_new(max_bytes);
    TAILQ_INIT(&s->clients);
    return s;
}

static void client_free(struct uv_store_server *s, struct client *c)
{
    TAILQ_REMOVE(&s->clients, c, link);
    store_client_fini(&c->store_client);
    free(c);
}

void uv_store_server_free(struct uv_store_server *s)
{
    if (s == NULL) {
        return;
    }
    struct client *next;
    for (struct client *c = TAILQ_FIRST(&s->clients); c != NULL; c = next) {
        next = TAILQ_NEXT(c, link);
        uv_conn_close(c->conn);
        client_free(s, c);
    }
    store_free(s->store);
    free(s);
}

struct store_stats uv_store_server_stats(const struct uv_store_server *s)
{
    return store_get_stats(s->store);
}

static void write_out(struct client *c)
{
    struct mu_buf *out = &c->store_client.out;
    uv_conn_send(c->conn, out->data, out->len);
    out->len = 0;
    if (out->cap > KEEP_OUT_BUFFER) {
        mu_buf_fini(out); /* one large answer must not stay in an idle client's memory */
    }
}

/* A request of one client may have answered others. */
static void write_ready(struct uv_store_server *s)
{
    struct store_client *ready;
    while ((ready = store_take_ready(s->store)) != NULL) {
        write_out(mu_container_of(ready, struct client, store_client));
    }
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct client *c = arg;
    struct uv_store_server *s = c->server;
    struct mu_err err = MU_ERR_INIT;
    int rc = store_client_feed(&c->store_client, data, len, &err);
    write_ready(s);
    if (rc != 0) {
        mu_log(MU_LOG_WARN, "store: closed the connection of %s: %s", uv_conn_peer(c->conn),
               err.text);
        uv_conn_finish(c->conn, CLIENT_LINGER_MS);
        client_free(s, c);
    }
}

static void on_closed(void *arg, const struct mu_err *why)
{
    struct client *c = arg;
    mu_log(MU_LOG_DEBUG, "store: client %s left: %s", uv_conn_peer(c->conn), why->text);
    uv_conn_close(c->conn);
    client_free(c->server, c);
}

void uv_store_server_adopt(struct uv_store_server *s, struct uv_conn *conn, const uint8_t *data,
                           size_t len)
{
    static const struct uv_conn_handlers handlers = {.data = on_data, .closed = on_closed};
    struct client *c = mu_alloc(sizeof(*c));
    c->server = s;
    c->conn = conn;
    store_client_init(&c->store_client, s->store);
    TAILQ_INSERT_TAIL(&s->clients, c, link);
    uv_conn_set_handlers(conn, &handlers, c);
    on_data(c, data, len);
}
