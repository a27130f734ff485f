/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on keys and values: one request each, get and multi_get after a wait.
 */
#include "muster/mem.h"
#include "rendezvous/store_client_impl.h"

#include <endian.h>

int store_conn_set(struct store_conn *c, const char *key, struct mu_slice value, struct mu_err *err)
{
    if (store_call_begin(c, C10D_SET, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_put_value(c, value, err) != 0 || store_call_send(c, err) != 0) {
        return store_call_failed(c, "set", key, err);
    }
    return 0;
}

int store_conn_get(struct store_conn *c, const char *key, struct mu_buf *ret_value,
                   struct mu_err *err)
{
    if (store_call_wait(c, &key, 1, c->timeout_ms, "get", err) != 0) {
        return -1;
    }
    if (store_call_begin(c, C10D_GET, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_send(c, err) != 0 || store_call_recv_value(c, ret_value, err) != 0) {
        return store_call_failed(c, "get", key, err);
    }
    return 0;
}

int store_conn_add(struct store_conn *c, const char *key, int64_t delta, int64_t *ret_sum,
                   struct mu_err *err)
{
    if (store_call_begin(c, C10D_ADD, err) != 0 || store_call_put_key(c, key, err) != 0) {
        return store_call_failed(c, "add", key, err);
    }
    mu_buf_append_u64(&c->request, (uint64_t)delta);
    return store_call_ask_i64(c, ret_sum, err) != 0 ? store_call_failed(c, "add", key, err) : 0;
}

int store_conn_compare_set(struct store_conn *c, const char *key, struct mu_slice expected,
                           struct mu_slice desired, struct mu_buf *ret_value, struct mu_err *err)
{
    if (store_call_begin(c, C10D_COMPARE_SET, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_put_value(c, expected, err) != 0 || store_call_put_value(c, desired, err) != 0 ||
        store_call_send(c, err) != 0 || store_call_recv_value(c, ret_value, err) != 0) {
        return store_call_failed(c, "compare_set", key, err);
    }
    return 0;
}

int store_conn_check(struct store_conn *c, const char *const *keys, size_t count, bool *ret_exist,
                     struct mu_err *err)
{
    uint8_t answer = 0;
    if (store_call_begin(c, C10D_CHECK, err) != 0 ||
        store_call_put_keys(c, keys, NULL, count, err) != 0 || store_call_send(c, err) != 0 ||
        store_call_recv_u8(c, &answer, err) != 0) {
        return store_call_failed(c, "check", NULL, err);
    }
    if (answer != C10D_CHECK_READY && answer != C10D_CHECK_NOT_READY) {
        mu_err_set(err, MU_E_PROTOCOL, 0, "answered %u", answer);
        return store_call_failed(c, "check", NULL, err);
    }
    *ret_exist = answer == C10D_CHECK_READY;
    return 0;
}

int store_conn_append(struct store_conn *c, const char *key, struct mu_slice value,
                      struct mu_err *err)
{
    if (store_call_begin(c, C10D_APPEND, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_put_value(c, value, err) != 0 || store_call_send(c, err) != 0) {
        return store_call_failed(c, "append", key, err);
    }
    return 0;
}

int store_conn_delete(struct store_conn *c, const char *key, bool *ret_existed, struct mu_err *err)
{
    int64_t deleted;
    if (store_call_begin(c, C10D_DELETE_KEY, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_ask_count(c, &deleted, err) != 0) {
        return store_call_failed(c, "delete", key, err);
    }
    if (ret_existed != NULL) {
        *ret_existed = deleted > 0;
    }
    return 0;
}

int store_conn_num_keys(struct store_conn *c, int64_t *ret_count, struct mu_err *err)
{
    if (store_call_begin(c, C10D_GETNUMKEYS, err) != 0 ||
        store_call_ask_count(c, ret_count, err) != 0) {
        return store_call_failed(c, "num_keys", NULL, err);
    }
    return 0;
}

int store_conn_multi_get(struct store_conn *c, const char *const *keys, size_t count,
                         struct mu_buf *ret_values, struct mu_err *err)
{
    if (store_call_wait(c, keys, count, c->timeout_ms, "multi_get", err) != 0) {
        return -1;
    }
    if (store_call_begin(c, C10D_MULTI_GET, err) != 0 ||
        store_call_put_keys(c, keys, NULL, count, err) != 0 || store_call_send(c, err) != 0) {
        return store_call_failed(c, "multi_get", NULL, err);
    }
    struct mu_buf *values = mu_calloc(count, sizeof(*values));
    size_t got = 0;
    while (got < count && store_call_recv_value(c, &values[got], err) == 0) {
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
    return got == count ? 0 : store_call_failed(c, "multi_get", NULL, err);
}

int store_conn_multi_set(struct store_conn *c, const char *const *keys,
                         const struct mu_slice *values, size_t count, struct mu_err *err)
{
    if (store_call_begin(c, C10D_MULTI_SET, err) != 0 ||
        store_call_put_keys(c, keys, values, count, err) != 0 || store_call_send(c, err) != 0) {
        return store_call_failed(c, "multi_set", NULL, err);
    }
    return 0;
}

int store_conn_ping(struct store_conn *c, struct mu_err *err)
{
    const uint32_t nonce = (uint32_t)getpid();
    uint32_t answer = 0;
    if (store_call_begin(c, C10D_PING, err) != 0) {
        return store_call_failed(c, "ping", NULL, err);
    }
    mu_buf_append_u32(&c->request, nonce);
    if (store_call_send(c, err) != 0 ||
        store_io_recv(c->fd, &answer, sizeof(answer), &c->limit, err) != 0) {
        return store_call_failed(c, "ping", NULL, err);
    }
    if (le32toh(answer) != nonce) {
        mu_err_set(err, MU_E_PROTOCOL, 0, "answered something else");
        return store_call_failed(c, "ping", NULL, err);
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
    if (store_call_begin(c, C10D_LIST_KEYS, err) != 0 || store_call_ask_count(c, &left, err) != 0) {
        return store_call_failed(c, "list_keys", NULL, err);
    }
    struct mu_buf keys = {0};
    struct mu_buf key = {0};
    size_t count = 0;
    int rc = 0;
    for (; left > 0 && rc == 0; left--) {
        rc = store_call_recv_value(c, &key, err);
        if (rc == 0 && is_listed(c, &key)) {
            mu_buf_append(&keys, key.data + c->start.len, key.len - c->start.len);
            mu_buf_append_u8(&keys, '\0');
            count++;
        }
    }
    mu_buf_fini(&key);
    if (rc != 0) {
        mu_buf_fini(&keys);
        return store_call_failed(c, "list_keys", NULL, err);
    }
    mu_buf_fini(ret_keys);
    *ret_keys = keys;
    *ret_count = count;
    return 0;
}
