/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call: a request is built and sent, its reply received, all within one limit.
 */
#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/store_client_impl.h"

#include <endian.h>
#include <inttypes.h>

enum {
    FOREVER_MS = INT32_MAX,
    KEPT_BUFFER = 64 * 1024, /* of a request; a larger one is released */
    FIRST_PIECE = 64 * 1024, /* of a value that comes: memory for more follows what has come */
};

/* ---- limits and failures ---- */

struct store_io_limit store_call_limit(const struct store_conn *c, int64_t timeout_ms,
                                       int64_t grace_ms)
{
    int64_t ms = timeout_ms < FOREVER_MS ? timeout_ms : FOREVER_MS;
    return (struct store_io_limit){.deadline_ms = store_io_now_ms() + ms,
                                   .grace_ms = grace_ms,
                                   .cancel_fd = store_cancel_fd(c->cancel)};
}

static void release_request(struct store_conn *c)
{
    if (c->request.cap > KEPT_BUFFER) {
        mu_buf_fini(&c->request);
    }
}

int store_call_failed(struct store_conn *c, const char *call, const char *key, struct mu_err *err)
{
    release_request(c);
    if (c->is_sent && c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
        c->is_waiting = false;
    }
    if (key != NULL) {
        return mu_err_wrap(err, "store %s: %s '%s'", c->name, call, key);
    }
    return mu_err_wrap(err, "store %s: %s", c->name, call);
}

/* ---- request ---- */

int store_call_begin(struct store_conn *c, enum c10d_query query, struct mu_err *err)
{
    c->is_sent = false;
    if (c->fd < 0) {
        return mu_err_set(err, MU_E_LOST, 0, "the connection was lost before");
    }
    if (c->is_waiting) {
        return mu_err_set(err, MU_E_USAGE, 0, "a wait was started and has not ended");
    }
    if (c->cancel != NULL && store_cancel_is_raised(c->cancel)) {
        return mu_err_set(err, MU_E_CANCELED, 0, "cancelled");
    }
    c->request.len = 0;
    mu_buf_append_u8(&c->request, (uint8_t)query);
    return 0;
}

/* Is there room for a field of this size in the request? */
static int check_room(const struct store_conn *c, size_t len, struct mu_err *err)
{
    size_t size = c->request.len + sizeof(uint64_t) + len;
    if (size > MU_STORE_MAX_REQUEST) {
        return mu_err_set(err, MU_E_USAGE, 0, "a request of more than %d bytes, which is the limit",
                          MU_STORE_MAX_REQUEST);
    }
    return 0;
}

int store_call_put_key(struct store_conn *c, const char *key, struct mu_err *err)
{
    size_t key_len = strlen(key);
    size_t len = c->start.len + key_len;
    if (len > MU_STORE_MAX_KEY) {
        return mu_err_set(err, MU_E_USAGE, 0, "a key of %zu bytes, the limit is %d", len,
                          MU_STORE_MAX_KEY);
    }
    if (check_room(c, len, err) != 0) {
        return -1;
    }
    mu_buf_append_u64(&c->request, len);
    mu_buf_append(&c->request, c->start.data, c->start.len);
    mu_buf_append(&c->request, key, key_len);
    return 0;
}

int store_call_put_value(struct store_conn *c, struct mu_slice value, struct mu_err *err)
{
    if (value.len > MU_STORE_MAX_VALUE) {
        return mu_err_set(err, MU_E_USAGE, 0, "a value of %zu bytes, the limit is %d", value.len,
                          MU_STORE_MAX_VALUE);
    }
    if (check_room(c, value.len, err) != 0) {
        return -1;
    }
    mu_buf_append_u64(&c->request, value.len);
    mu_buf_append(&c->request, value.ptr, value.len);
    return 0;
}

int store_call_put_keys(struct store_conn *c, const char *const *keys,
                        const struct mu_slice *values, size_t count, struct mu_err *err)
{
    if (count > MU_STORE_MAX_KEYS_PER_QUERY) {
        return mu_err_set(err, MU_E_USAGE, 0, "%zu keys at once, the limit is %d", count,
                          MU_STORE_MAX_KEYS_PER_QUERY);
    }
    mu_buf_append_u64(&c->request, count);
    for (size_t i = 0; i < count; i++) {
        if (store_call_put_key(c, keys[i], err) != 0) {
            return -1;
        }
        if (values != NULL && store_call_put_value(c, values[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

int store_call_send_within_limit(struct store_conn *c, struct mu_err *err)
{
    c->is_sent = true;
    c->reply_room = MU_STORE_MAX_ANSWER;
    int rc = store_io_send(c->fd, c->request.data, c->request.len, &c->limit, err);
    release_request(c);
    return rc;
}

int store_call_send(struct store_conn *c, struct mu_err *err)
{
    c->limit = store_call_limit(c, c->timeout_ms, STORE_GRACE_MS);
    return store_call_send_within_limit(c, err);
}

/* ---- reply ---- */

int store_call_recv_u8(struct store_conn *c, uint8_t *ret_v, struct mu_err *err)
{
    return store_io_recv(c->fd, ret_v, sizeof(*ret_v), &c->limit, err);
}

int store_call_recv_i64(struct store_conn *c, int64_t *ret_v, struct mu_err *err)
{
    uint64_t v;
    if (store_io_recv(c->fd, &v, sizeof(v), &c->limit, err) != 0) {
        return -1;
    }
    *ret_v = (int64_t)le64toh(v);
    return 0;
}

int store_call_recv_count(struct store_conn *c, int64_t *ret_count, struct mu_err *err)
{
    int64_t count;
    if (store_call_recv_i64(c, &count, err) != 0) {
        return -1;
    }
    if (count < 0) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "answered %" PRId64 ", which is no count", count);
    }
    *ret_count = count;
    return 0;
}

/* What a length announces is believed only as far as it has come: half of what is asked for next
 * is here already. */
int store_call_recv_value(struct store_conn *c, struct mu_buf *ret_value, struct mu_err *err)
{
    int64_t len;
    if (store_call_recv_i64(c, &len, err) != 0) {
        return -1;
    }
    if (len < 0 || len > MU_STORE_MAX_REPLY) {
        return mu_err_set(err, MU_E_LIMIT, 0, "answered a value of %" PRIu64 " bytes",
                          (uint64_t)len);
    }
    if ((size_t)len > c->reply_room) {
        return mu_err_set(err, MU_E_LIMIT, 0, "answered values of more than %d bytes together",
                          MU_STORE_MAX_ANSWER);
    }
    c->reply_room -= (size_t)len;
    struct mu_buf b = {0};
    mu_buf_reserve(&b, 1);
    for (size_t left = (size_t)len; left > 0;) {
        size_t piece = b.len > FIRST_PIECE ? b.len : FIRST_PIECE;
        piece = piece < left ? piece : left;
        if (store_io_recv(c->fd, mu_buf_reserve(&b, piece), piece, &c->limit, err) != 0) {
            mu_buf_fini(&b);
            return -1;
        }
        b.len += piece;
        left -= piece;
    }
    mu_buf_fini(ret_value);
    *ret_value = b;
    return 0;
}

int store_call_ask_i64(struct store_conn *c, int64_t *ret_v, struct mu_err *err)
{
    return store_call_send(c, err) != 0 || store_call_recv_i64(c, ret_v, err) != 0 ? -1 : 0;
}

int store_call_ask_count(struct store_conn *c, int64_t *ret_count, struct mu_err *err)
{
    return store_call_send(c, err) != 0 || store_call_recv_count(c, ret_count, err) != 0 ? -1 : 0;
}
