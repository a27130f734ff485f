/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/store_client.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "rendezvous/store_client_io.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_PAUSE_MS = 5,
    LAST_PAUSE_MS = 500,
    FOREVER_MS = INT32_MAX,
    KEPT_BUFFER = 64 * 1024, /* of a request; a larger one is released */
};

struct store_conn {
    int fd;       /* -1 once broken */
    bool is_sent; /* of the call at hand, something was */
    int64_t timeout_ms;
    char *name;            /* owned; host:port, for messages */
    struct mu_buf start;   /* owned; what every key begins with on the wire */
    struct mu_buf request; /* owned; being built */
};

/* ---- one call ---- */

/*
 * A call that failed: say which, and give up the connection if a reply could still come that nobody
 * waits for. `key` may be NULL.
 */
static int call_failed(struct store_conn *c, const char *call, const char *key, struct mu_err *err)
{
    if (c->is_sent && c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    if (key != NULL) {
        return mu_err_wrap(err, "store %s: %s '%s'", c->name, call, key);
    }
    return mu_err_wrap(err, "store %s: %s", c->name, call);
}

static int begin(struct store_conn *c, enum c10d_query query, struct mu_err *err)
{
    c->is_sent = false;
    if (c->fd < 0) {
        return mu_err_set(err, MU_E_LOST, 0, "the connection was lost before");
    }
    c->request.len = 0;
    mu_buf_append_u8(&c->request, (uint8_t)query);
    return 0;
}

static int put_key(struct store_conn *c, const char *key, struct mu_err *err)
{
    size_t key_len = strlen(key);
    size_t len = c->start.len + key_len;
    if (len > MU_STORE_MAX_KEY) {
        return mu_err_set(err, MU_E_USAGE, 0, "a key of %zu bytes, the limit is %d", len,
                          MU_STORE_MAX_KEY);
    }
    mu_buf_append_u64(&c->request, len);
    mu_buf_append(&c->request, c->start.data, c->start.len);
    mu_buf_append(&c->request, key, key_len);
    return 0;
}

static int put_value(struct store_conn *c, struct mu_slice value, struct mu_err *err)
{
    if (value.len > MU_STORE_MAX_VALUE) {
        return mu_err_set(err, MU_E_USAGE, 0, "a value of %zu bytes, the limit is %d", value.len,
                          MU_STORE_MAX_VALUE);
    }
    mu_buf_append_u64(&c->request, value.len);
    mu_buf_append(&c->request, value.ptr, value.len);
    return 0;
}

static int put_keys(struct store_conn *c, const char *const *keys, const struct mu_slice *values,
                    size_t count, struct mu_err *err)
{
    if (count > MU_STORE_MAX_KEYS_PER_QUERY) {
        return mu_err_set(err, MU_E_USAGE, 0, "%zu keys at once, the limit is %d", count,
                          MU_STORE_MAX_KEYS_PER_QUERY);
    }
    mu_buf_append_u64(&c->request, count);
    for (size_t i = 0; i < count; i++) {
        if (put_key(c, keys[i], err) != 0) {
            return -1;
        }
        if (values != NULL && put_value(c, values[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int64_t deadline_of(const struct store_conn *c)
{
    return store_io_now_ms() + c->timeout_ms;
}

static int send_request(struct store_conn *c, struct mu_err *err)
{
    c->is_sent = true;
    int rc = store_io_send(c->fd, c->request.data, c->request.len, deadline_of(c), err);
    if (c->request.cap > KEPT_BUFFER) {
        mu_buf_fini(&c->request);
    }
    return rc;
}

static int recv_u8(struct store_conn *c, uint8_t *ret_v, struct mu_err *err)
{
    return store_io_recv(c->fd, ret_v, sizeof(*ret_v), deadline_of(c), err);
}

static int recv_i64(struct store_conn *c, int64_t *ret_v, struct mu_err *err)
{
    uint64_t v;
    if (store_io_recv(c->fd, &v, sizeof(v), deadline_of(c), err) != 0) {
        return -1;
    }
    *ret_v = (int64_t)le64toh(v);
    return 0;
}

static int recv_str(struct store_conn *c, struct mu_buf *ret_value, struct mu_err *err)
{
    int64_t len;
    if (recv_i64(c, &len, err) != 0) {
        return -1;
    }
    if (len < 0 || len > MU_STORE_MAX_REPLY) {
        return mu_err_set(err, MU_E_LIMIT, 0, "a value of %" PRIu64 " bytes", (uint64_t)len);
    }
    struct mu_buf b = {0};
    if (store_io_recv(c->fd, mu_buf_reserve(&b, (size_t)len), (size_t)len, deadline_of(c), err) !=
        0) {
        mu_buf_fini(&b);
        return -1;
    }
    b.len = (size_t)len;
    mu_buf_fini(ret_value);
    *ret_value = b;
    return 0;
}

/* Send a request that is answered by a number. */
static int ask_i64(struct store_conn *c, int64_t *ret_v, struct mu_err *err)
{
    return send_request(c, err) != 0 || recv_i64(c, ret_v, err) != 0 ? -1 : 0;
}

/*
 * The answer to a WAIT or BARRIER, or its cancellation. The server may have answered while our
 * CANCEL_WAIT was on its way: then both answers come, and what was waited for did happen.
 * MU_E_TIMEOUT leaves the connection in step; `ret_in_step` tells it from one that does not.
 */
static int await_done(struct store_conn *c, int64_t timeout_ms, bool *ret_in_step,
                      struct mu_err *err)
{
    uint8_t answer = 0;
    struct mu_err e = MU_ERR_INIT;
    int64_t deadline_ms = store_io_now_ms() + timeout_ms;
    if (store_io_recv(c->fd, &answer, sizeof(answer), deadline_ms, &e) != 0) {
        if (e.code != MU_E_TIMEOUT) {
            return mu_err_set(err, e.code, 0, "%s", e.text);
        }
        c->request.len = 0;
        mu_buf_append_u8(&c->request, C10D_CANCEL_WAIT);
        if (send_request(c, err) != 0 || recv_u8(c, &answer, err) != 0) {
            return -1;
        }
        if (answer == C10D_WAIT_CANCELED) {
            *ret_in_step = true;
            return mu_err_set(err, MU_E_TIMEOUT, 0, "not complete after %" PRId64 " ms",
                              timeout_ms);
        }
        uint8_t canceled = 0;
        if (answer == C10D_WAIT_DONE && recv_u8(c, &canceled, err) != 0) {
            return -1;
        }
        answer = canceled == C10D_WAIT_CANCELED ? answer : UINT8_MAX;
    }
    if (answer != C10D_WAIT_DONE) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "answered %u", answer);
    }
    return 0;
}

/* Send a WAIT or BARRIER and wait for its answer. */
static int ask_and_wait(struct store_conn *c, int64_t timeout_ms, const char *call, const char *key,
                        struct mu_err *err)
{
    bool is_in_step = false;
    if (send_request(c, err) == 0 && await_done(c, timeout_ms, &is_in_step, err) == 0) {
        return 0;
    }
    if (is_in_step) {
        return mu_err_wrap(err, "store %s: %s '%s'", c->name, call, key);
    }
    return call_failed(c, call, key, err);
}

static int wait_for_keys(struct store_conn *c, const char *const *keys, size_t count,
                         int64_t timeout_ms, const char *call, struct mu_err *err)
{
    char what[128]; /* the call, and how many it waits for if that is not one */
    snprintf(what, sizeof(what), count == 1 ? "%s" : "%s of %zu keys from", call, count);
    const char *first = count > 0 ? keys[0] : "";
    if (begin(c, C10D_WAIT, err) != 0 || put_keys(c, keys, NULL, count, err) != 0) {
        return call_failed(c, what, first, err);
    }
    return ask_and_wait(c, timeout_ms, what, first, err);
}

/* ---- connection ---- */

static int shake_hands(struct store_conn *c, int64_t deadline_ms, struct mu_err *err)
{
    uint32_t nonce = (uint32_t)getpid();
    uint32_t answer;
    c->request.len = 0;
    mu_buf_append_u8(&c->request, C10D_VALIDATE);
    mu_buf_append_u32(&c->request, C10D_MAGIC);
    mu_buf_append_u8(&c->request, C10D_PING);
    mu_buf_append_u32(&c->request, nonce);
    if (store_io_send(c->fd, c->request.data, c->request.len, deadline_ms, err) != 0 ||
        store_io_recv(c->fd, &answer, sizeof(answer), deadline_ms, err) != 0) {
        return mu_err_wrap(err, "handshake");
    }
    if (le32toh(answer) != nonce) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "what answers there is no TCPStore");
    }
    return 0;
}

/* One attempt; the descriptor is closed again if it fails. */
static int try_to_connect(struct store_conn *c, const char *host, uint16_t port,
                          int64_t deadline_ms, struct mu_err *err)
{
    c->fd = store_io_connect(host, port, deadline_ms, err);
    if (c->fd < 0) {
        return -1;
    }
    if (shake_hands(c, deadline_ms, err) != 0) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }
    return 0;
}

/* A server that is not up yet refuses; one that is just going down closes: both can be waited out.
 */
static int connect_until(struct store_conn *c, const char *host, uint16_t port, struct mu_err *err)
{
    int64_t deadline_ms = deadline_of(c);
    int64_t pause_ms = FIRST_PAUSE_MS;
    struct mu_err why = MU_ERR_INIT;
    do {
        struct mu_err e = MU_ERR_INIT;
        if (try_to_connect(c, host, port, deadline_ms, &e) == 0) {
            return 0;
        }
        /* An attempt that only ran out of time tells less than the one before. */
        bool is_cut_short = e.code == MU_E_TIMEOUT || e.sys == ETIMEDOUT;
        if (why.code == MU_E_NONE || !is_cut_short) {
            why = e;
        }
        if (e.code == MU_E_PROTOCOL) {
            return mu_err_set(err, e.code, 0, "store %s: %s", c->name, e.text);
        }
        store_io_pause(pause_ms, deadline_ms);
        pause_ms = pause_ms * 2 < LAST_PAUSE_MS ? pause_ms * 2 : LAST_PAUSE_MS;
    } while (store_io_now_ms() < deadline_ms);
    return mu_err_set(err, why.code == MU_E_TIMEOUT ? MU_E_TIMEOUT : MU_E_CONNECT, 0,
                      "store %s: %s (tried for %" PRId64 " ms)", c->name, why.text, c->timeout_ms);
}

struct store_conn *store_conn_open(const char *host, uint16_t port, const char *prefix,
                                   int64_t timeout_ms, struct mu_err *err)
{
    struct store_conn *c = mu_alloc(sizeof(*c));
    c->fd = -1;
    c->name = mu_asprintf(strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
    mu_buf_append_u8(&c->start, '/');
    if (prefix != NULL) {
        mu_buf_append(&c->start, prefix, strlen(prefix));
        mu_buf_append_u8(&c->start, '/');
    }
    store_conn_set_timeout(c, timeout_ms);
    if (connect_until(c, host, port, err) != 0) {
        store_conn_close(c);
        return NULL;
    }
    return c;
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
    free(c->name);
    free(c);
}

void store_conn_set_timeout(struct store_conn *c, int64_t timeout_ms)
{
    c->timeout_ms = timeout_ms < FOREVER_MS ? timeout_ms : FOREVER_MS;
}

/* ---- calls ---- */

int store_conn_set(struct store_conn *c, const char *key, struct mu_slice value, struct mu_err *err)
{
    if (begin(c, C10D_SET, err) != 0 || put_key(c, key, err) != 0 ||
        put_value(c, value, err) != 0 || send_request(c, err) != 0) {
        return call_failed(c, "set", key, err);
    }
    return 0;
}

int store_conn_get(struct store_conn *c, const char *key, struct mu_buf *ret_value,
                   struct mu_err *err)
{
    if (wait_for_keys(c, &key, 1, c->timeout_ms, "get", err) != 0) {
        return -1;
    }
    if (begin(c, C10D_GET, err) != 0 || put_key(c, key, err) != 0 || send_request(c, err) != 0 ||
        recv_str(c, ret_value, err) != 0) {
        return call_failed(c, "get", key, err);
    }
    return 0;
}

int store_conn_add(struct store_conn *c, const char *key, int64_t delta, int64_t *ret_sum,
                   struct mu_err *err)
{
    if (begin(c, C10D_ADD, err) != 0 || put_key(c, key, err) != 0) {
        return call_failed(c, "add", key, err);
    }
    mu_buf_append_u64(&c->request, (uint64_t)delta);
    return ask_i64(c, ret_sum, err) != 0 ? call_failed(c, "add", key, err) : 0;
}

int store_conn_compare_set(struct store_conn *c, const char *key, struct mu_slice expected,
                           struct mu_slice desired, struct mu_buf *ret_value, struct mu_err *err)
{
    if (begin(c, C10D_COMPARE_SET, err) != 0 || put_key(c, key, err) != 0 ||
        put_value(c, expected, err) != 0 || put_value(c, desired, err) != 0 ||
        send_request(c, err) != 0 || recv_str(c, ret_value, err) != 0) {
        return call_failed(c, "compare_set", key, err);
    }
    return 0;
}

int store_conn_wait(struct store_conn *c, const char *const *keys, size_t count, int64_t timeout_ms,
                    struct mu_err *err)
{
    return wait_for_keys(c, keys, count, timeout_ms < 0 ? c->timeout_ms : timeout_ms, "wait", err);
}

int store_conn_check(struct store_conn *c, const char *const *keys, size_t count, bool *ret_exist,
                     struct mu_err *err)
{
    uint8_t answer = 0;
    if (begin(c, C10D_CHECK, err) != 0 || put_keys(c, keys, NULL, count, err) != 0 ||
        send_request(c, err) != 0 || recv_u8(c, &answer, err) != 0) {
        return call_failed(c, "check", NULL, err);
    }
    *ret_exist = answer == C10D_CHECK_READY;
    return 0;
}

int store_conn_append(struct store_conn *c, const char *key, struct mu_slice value,
                      struct mu_err *err)
{
    if (begin(c, C10D_APPEND, err) != 0 || put_key(c, key, err) != 0 ||
        put_value(c, value, err) != 0 || send_request(c, err) != 0) {
        return call_failed(c, "append", key, err);
    }
    return 0;
}

int store_conn_delete(struct store_conn *c, const char *key, bool *ret_existed, struct mu_err *err)
{
    int64_t deleted;
    if (begin(c, C10D_DELETE_KEY, err) != 0 || put_key(c, key, err) != 0 ||
        ask_i64(c, &deleted, err) != 0) {
        return call_failed(c, "delete", key, err);
    }
    if (ret_existed != NULL) {
        *ret_existed = deleted == 1;
    }
    return 0;
}

int store_conn_num_keys(struct store_conn *c, int64_t *ret_count, struct mu_err *err)
{
    if (begin(c, C10D_GETNUMKEYS, err) != 0 || ask_i64(c, ret_count, err) != 0) {
        return call_failed(c, "num_keys", NULL, err);
    }
    return 0;
}

int store_conn_multi_get(struct store_conn *c, const char *const *keys, size_t count,
                         struct mu_buf *ret_values, struct mu_err *err)
{
    if (wait_for_keys(c, keys, count, c->timeout_ms, "multi_get", err) != 0) {
        return -1;
    }
    if (begin(c, C10D_MULTI_GET, err) != 0 || put_keys(c, keys, NULL, count, err) != 0 ||
        send_request(c, err) != 0) {
        return call_failed(c, "multi_get", NULL, err);
    }
    struct mu_buf *values = mu_calloc(count, sizeof(*values));
    size_t got = 0;
    while (got < count && recv_str(c, &values[got], err) == 0) {
        got++;
    }
    for (size_t i = 0; i < got; i++) {
        struct mu_buf *unused = got == count ? &ret_values[i] : &values[i];
        mu_buf_fini(unused);
        if (got == count) {
            ret_values[i] = values[i];
        }
    }
    free(values);
    return got == count ? 0 : call_failed(c, "multi_get", NULL, err);
}

int store_conn_multi_set(struct store_conn *c, const char *const *keys,
                         const struct mu_slice *values, size_t count, struct mu_err *err)
{
    if (begin(c, C10D_MULTI_SET, err) != 0 || put_keys(c, keys, values, count, err) != 0 ||
        send_request(c, err) != 0) {
        return call_failed(c, "multi_set", NULL, err);
    }
    return 0;
}

int store_conn_barrier(struct store_conn *c, const char *key, int64_t world_size,
                       struct mu_err *err)
{
    if (begin(c, C10D_BARRIER, err) != 0 || put_key(c, key, err) != 0) {
        return call_failed(c, "barrier", key, err);
    }
    mu_buf_append_u64(&c->request, (uint64_t)world_size);
    return ask_and_wait(c, c->timeout_ms, "barrier", key, err);
}

int store_conn_queue_push(struct store_conn *c, const char *key, struct mu_slice value,
                          struct mu_err *err)
{
    if (begin(c, C10D_QUEUE_PUSH, err) != 0 || put_key(c, key, err) != 0 ||
        put_value(c, value, err) != 0 || send_request(c, err) != 0) {
        return call_failed(c, "queue_push", key, err);
    }
    return 0;
}

int store_conn_queue_pop(struct store_conn *c, const char *key, bool is_blocking,
                         struct mu_buf *ret_value, struct mu_err *err)
{
    if (is_blocking && wait_for_keys(c, &key, 1, c->timeout_ms, "queue_pop", err) != 0) {
        return -1;
    }
    int64_t len = 0;
    if (begin(c, C10D_QUEUE_POP, err) != 0 || put_key(c, key, err) != 0 ||
        ask_i64(c, &len, err) != 0 || (len > 0 && recv_str(c, ret_value, err) != 0)) {
        return call_failed(c, "queue_pop", key, err);
    }
    if (len <= 0) {
        return mu_err_set(err, MU_E_CANCELED, 0, "store %s: queue_pop '%s': the queue is empty",
                          c->name, key);
    }
    return 0;
}

int store_conn_queue_len(struct store_conn *c, const char *key, int64_t *ret_len,
                         struct mu_err *err)
{
    if (begin(c, C10D_QUEUE_LEN, err) != 0 || put_key(c, key, err) != 0 ||
        ask_i64(c, ret_len, err) != 0) {
        return call_failed(c, "queue_len", key, err);
    }
    return 0;
}

/* Is it under our prefix and can it be written as text? */
static bool is_listed(const struct store_conn *c, const struct mu_buf *key)
{
    return key->data != NULL && key->len >= c->start.len &&
           memcmp(key->data, c->start.data, c->start.len) == 0 &&
           memchr(key->data, '\0', key->len) == NULL;
}

int store_conn_list_keys(struct store_conn *c, struct mu_buf *ret_keys, size_t *ret_count,
                         struct mu_err *err)
{
    int64_t left = 0;
    if (begin(c, C10D_LIST_KEYS, err) != 0 || ask_i64(c, &left, err) != 0) {
        return call_failed(c, "list_keys", NULL, err);
    }
    struct mu_buf keys = {0};
    struct mu_buf key = {0};
    size_t count = 0;
    int rc = 0;
    for (; left > 0 && rc == 0; left--) {
        rc = recv_str(c, &key, err);
        if (rc == 0 && keys.len + key.len > MU_STORE_MAX_REPLY) {
            rc = mu_err_set(err, MU_E_LIMIT, 0, "more than %d bytes of keys", MU_STORE_MAX_REPLY);
        }
        if (rc == 0 && is_listed(c, &key)) {
            mu_buf_append(&keys, key.data + c->start.len, key.len - c->start.len);
            mu_buf_append_u8(&keys, '\0');
            count++;
        }
    }
    mu_buf_fini(&key);
    if (rc != 0) {
        mu_buf_fini(&keys);
        return call_failed(c, "list_keys", NULL, err);
    }
    mu_buf_fini(ret_keys);
    *ret_keys = keys;
    *ret_count = count;
    return 0;
}
