/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on queues.
 */
#include "rendezvous/store_client_impl.h"

#include <inttypes.h>

enum { MAX_PAUSE_MS = 100 };

int store_conn_queue_push(struct store_conn *c, const char *key, struct mu_slice value,
                          struct mu_err *err)
{
    if (store_call_begin(c, C10D_QUEUE_PUSH, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_put_value(c, value, err) != 0 || store_call_send(c, err) != 0) {
        return store_call_failed(c, "queue_push", key, err);
    }
    return 0;
}

/* Take a value if there is one. */
static int pop(struct store_conn *c, const char *key, const char *call, bool *ret_is_taken,
               struct mu_buf *ret_value, struct mu_err *err)
{
    int64_t len = 0; /* before the pop */
    if (store_call_begin(c, C10D_QUEUE_POP, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_ask_count(c, &len, err) != 0 ||
        (len > 0 && store_call_recv_value(c, ret_value, err) != 0)) {
        return store_call_failed(c, call, key, err);
    }
    *ret_is_taken = len > 0;
    return 0;
}

int store_conn_queue_try_pop(struct store_conn *c, const char *key, bool *ret_is_taken,
                             struct mu_buf *ret_value, struct mu_err *err)
{
    return pop(c, key, "queue_try_pop", ret_is_taken, ret_value, err);
}

int store_conn_queue_pop(struct store_conn *c, const char *key, struct mu_buf *ret_value,
                         struct mu_err *err)
{
    struct store_io_limit limit = store_call_limit(c, c->timeout_ms, 0);
    bool is_taken = false;
    for (int64_t pause_ms = 1;; pause_ms = pause_ms < MAX_PAUSE_MS ? pause_ms * 2 : pause_ms) {
        int64_t left_ms = limit.deadline_ms - store_io_now_ms();
        left_ms = left_ms > 0 ? left_ms : 0;
        if (store_call_wait(c, &key, 1, left_ms, "queue_pop", err) != 0 ||
            pop(c, key, "queue_pop", &is_taken, ret_value, err) != 0) {
            return -1;
        }
        if (is_taken) {
            return 0;
        }
        if (left_ms == 0) {
            return mu_err_set(err, MU_E_TIMEOUT, 0,
                              "store %s: queue_pop '%s': nothing after %" PRId64 " ms", c->name,
                              key, c->timeout_ms);
        }
        /* Another client was faster; or a key of this name exists, which WAIT takes for a queue. */
        store_io_pause(pause_ms, &limit);
    }
}

int store_conn_queue_len(struct store_conn *c, const char *key, int64_t *ret_len,
                         struct mu_err *err)
{
    if (store_call_begin(c, C10D_QUEUE_LEN, err) != 0 || store_call_put_key(c, key, err) != 0 ||
        store_call_ask_count(c, ret_len, err) != 0) {
        return store_call_failed(c, "queue_len", key, err);
    }
    return 0;
}
