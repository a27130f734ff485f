/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/uv_store_server.h"

#include "muster/limits.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <sys/queue.h>

enum {
    CLIENT_LINGER_MS = 1000,
    CLIENTS_PER_TURN = 1024, /* are answered, before others are read again */
    SLICES_AT_HAND = 16,
    UNREAD_SHARE = 4, /* of the store's limit; see the header */
};

/* Replies that the kernel did not take at once. */
struct flight {
    struct client *client; /* NULL once that is gone */
    struct store_out out;  /* owned */
    TAILQ_ENTRY(flight) link;
};

struct client {
    struct store_client store_client;
    struct uv_store_server *server;
    struct uv_conn *conn; /* owned */
    TAILQ_HEAD(flight_list, flight) flights;
    size_t flying; /* bytes of memory that only the flights hold */
    bool is_paused;
    TAILQ_ENTRY(client) link;
    TAILQ_ENTRY(client) slow_link; /* while it has flights */
};

TAILQ_HEAD(client_list, client);

struct uv_store_server {
    uv_loop_t *loop;
    struct store *store; /* owned */
    uint64_t max_bytes;
    struct uv_store_counters *counters; /* borrowed */
    struct client_list clients;
    struct client_list
        slow;            /* with replies on their way; who has read nothing for longest, first */
    uv_idle_t *answerer; /* owned; while replies are left for the next turn */
    struct mu_buf spare; /* owned; for the next replies */
};

struct uv_store_server *uv_store_server_new(uv_loop_t *loop, uint64_t max_bytes,
                                            struct uv_store_counters *counters)
{
    struct uv_store_server *s = mu_alloc(sizeof(*s));
    s->loop = loop;
    s->store = store_new(max_bytes);
    s->max_bytes = max_bytes;
    s->counters = counters;
    TAILQ_INIT(&s->clients);
    TAILQ_INIT(&s->slow);
    return s;
}

struct store_stats uv_store_server_stats(const struct uv_store_server *s)
{
    return store_get_stats(s->store);
}

/* Forget the client; its connection is closed by the caller. */
static void client_free(struct client *c)
{
    struct uv_store_server *s = c->server;
    struct flight *f;
    if (!TAILQ_EMPTY(&c->flights)) {
        TAILQ_REMOVE(&s->slow, c, slow_link);
    }
    while ((f = TAILQ_FIRST(&c->flights)) != NULL) {
        TAILQ_REMOVE(&c->flights, f, link);
        f->client = NULL;
    }
    TAILQ_REMOVE(&s->clients, c, link);
    store_client_fini(&c->store_client);
    free(c);
}

static void on_answerer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void stop_answerer(struct uv_store_server *s)
{
    if (s->answerer != NULL) {
        uv_close((uv_handle_t *)s->answerer, on_answerer_closed);
        s->answerer = NULL;
    }
}

void uv_store_server_free(struct uv_store_server *s)
{
    if (s == NULL) {
        return;
    }
    struct client *c;
    while ((c = TAILQ_FIRST(&s->clients)) != NULL) {
        uv_conn_close(c->conn);
        client_free(c);
    }
    stop_answerer(s);
    store_free(s->store);
    mu_buf_fini(&s->spare);
    free(s);
}

/* ---- replies ---- */

static void answer(struct client *c);

static void update_pause(struct client *c)
{
    size_t unread = c->flying + store_out_own(&c->store_client.out);
    if (!c->is_paused && unread > MU_STORE_UNREAD_HIGH) {
        c->is_paused = true;
        c->server->counters->paused++;
        uv_conn_pause(c->conn);
    } else if (c->is_paused && unread <= MU_STORE_UNREAD_HIGH / 2) {
        c->is_paused = false;
        uv_conn_resume(c->conn);
    }
}

static void on_sent(void *arg)
{
    struct flight *f = arg;
    struct client *c = f->client;
    if (c != NULL) {
        struct client_list *slow = &c->server->slow;
        TAILQ_REMOVE(&c->flights, f, link);
        TAILQ_REMOVE(slow, c, slow_link);
        c->flying -= store_out_own(&f->out);
        if (!TAILQ_EMPTY(&c->flights)) {
            TAILQ_INSERT_TAIL(slow, c, slow_link);
        }
    }
    store_out_fini(&f->out);
    free(f);
    if (c != NULL) {
        answer(c);
    }
}

/* Send the replies but for their first `done` bytes, which have gone; they stay until then. */
static void start_flight(struct client *c, size_t done)
{
    struct store_out *out = &c->store_client.out;
    mu_autofree struct mu_slice *slices = mu_calloc(store_out_count(out), sizeof(*slices));
    struct flight *f = mu_alloc(sizeof(*f));
    size_t count = store_out_slices(out, done, slices);
    f->out = *out;
    *out = (struct store_out){0};
    if (!uv_conn_send_kept(c->conn, slices, count, on_sent, f)) {
        store_out_fini(&f->out); /* the connection is about to be told lost */
        free(f);
        return;
    }
    f->client = c;
    if (TAILQ_EMPTY(&c->flights)) {
        TAILQ_INSERT_TAIL(&c->server->slow, c, slow_link);
    }
    TAILQ_INSERT_TAIL(&c->flights, f, link);
    c->flying += store_out_own(&f->out);
}

/* What the kernel takes of the replies at once; of many slices only the first are tried. */
static size_t try_to_send(struct client *c)
{
    const struct store_out *out = &c->store_client.out;
    struct mu_slice slices[SLICES_AT_HAND];
    if (store_out_count(out) > SLICES_AT_HAND) {
        return 0;
    }
    size_t count = store_out_slices(out, 0, slices);
    return uv_conn_try_send(c->conn, slices, count);
}

/* Send the replies there are; while earlier ones are on their way, they wait for those. */
static void answer(struct client *c)
{
    struct store_out *out = &c->store_client.out;
    size_t len = store_out_len(out);
    if (len > 0 && TAILQ_EMPTY(&c->flights)) {
        size_t done = try_to_send(c);
        if (done == len) {
            store_out_clear(out, &c->server->spare);
        } else {
            start_flight(c, done);
        }
    }
    update_pause(c);
}

static void on_answerer(uv_idle_t *idle);

/* A request of one client may have answered many others. */
static void answer_ready(struct uv_store_server *s)
{
    struct store_client *ready;
    for (int i = 0; i < CLIENTS_PER_TURN; i++) {
        ready = store_take_ready(s->store);
        if (ready == NULL) {
            stop_answerer(s);
            return;
        }
        answer(mu_container_of(ready, struct client, store_client));
    }
    if (s->answerer == NULL) {
        s->counters->delayed_turns++;
        s->answerer = mu_alloc(sizeof(*s->answerer));
        uv_idle_init(s->loop, s->answerer);
        s->answerer->data = s;
        uv_idle_start(s->answerer, on_answerer);
    }
}

static void on_answerer(uv_idle_t *idle)
{
    answer_ready(idle->data);
}

/* Too much memory is held by those who do not read: who has read nothing for longest goes first. */
static void drop_slow(struct uv_store_server *s)
{
    struct client *next;
    for (struct client *c = TAILQ_FIRST(&s->slow); c != NULL; c = next) {
        if (store_get_stats(s->store).unread <= s->max_bytes / UNREAD_SHARE) {
            return;
        }
        next = TAILQ_NEXT(c, slow_link);
        mu_log(MU_LOG_WARN, "store: dropped %s, which does not read what it asked for",
               uv_conn_peer(c->conn));
        s->counters->slow_dropped++;
        uv_conn_close(c->conn);
        client_free(c);
    }
}

/* ---- connections ---- */

/* It gets the replies to what came before; then its connection ends. */
static void refuse(struct client *c, const struct mu_err *err)
{
    struct uv_store_counters *counters = c->server->counters;
    mu_log(MU_LOG_WARN, "store: closed the connection of %s: %s", uv_conn_peer(c->conn), err->text);
    *(err->code == MU_E_LIMIT ? &counters->over_limit : &counters->broken) += 1;
    if (store_out_len(&c->store_client.out) > 0) {
        start_flight(c, 0);
    }
    uv_conn_finish(c->conn, CLIENT_LINGER_MS);
    client_free(c);
}

static void on_data(void *arg, const uint8_t *data, size_t len)
{
    struct client *c = arg;
    struct uv_store_server *s = c->server;
    struct mu_err err;
    mu_err_clear(&err);
    if (c->store_client.out.bytes.data == NULL) {
        c->store_client.out.bytes = s->spare;
        s->spare = (struct mu_buf){0};
    }
    if (store_client_feed(&c->store_client, data, len, &err) != 0) {
        refuse(c, &err);
    }
    answer_ready(s);
    if (!TAILQ_EMPTY(&s->slow)) {
        drop_slow(s);
    }
}

static void on_closed(void *arg, const struct mu_err *why)
{
    struct client *c = arg;
    mu_log(MU_LOG_DEBUG, "store: client %s left: %s", uv_conn_peer(c->conn), why->text);
    uv_conn_close(c->conn);
    client_free(c);
}

void uv_store_server_adopt(struct uv_store_server *s, struct uv_conn *conn, const uint8_t *data,
                           size_t len)
{
    static const struct uv_conn_handlers handlers = {.data = on_data, .closed = on_closed};
    struct client *c = mu_alloc(sizeof(*c));
    c->server = s;
    c->conn = conn;
    TAILQ_INIT(&c->flights);
    store_client_init(&c->store_client, s->store);
    TAILQ_INSERT_TAIL(&s->clients, c, link);
    s->counters->clients++;
    uv_conn_set_handlers(conn, &handlers, c);
    on_data(c, data, len);
}
