/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that wait for other clients. They can be given up without giving up the connection: the
 * server is told, and answers that it knows (protocol: "Giving up").
 */
#include "muster/mem.h"
#include "rendezvous/store_client_impl.h"

#include <inttypes.h>

static int check_done(uint8_t answer, struct mu_err *err)
{
    return answer == C10D_WAIT_DONE ? 0 : mu_err_set(err, MU_E_PROTOCOL, 0, "answered %u", answer);
}

/*
 * Take back the WAIT or BARRIER that is pending. The server may have answered it while that was on
 * its way: then both answers come, and what was waited for did happen. -1: out of step. Within
 * c->limit.
 */
static int take_back(struct store_conn *c, bool *ret_is_done, struct mu_err *err)
{
    uint8_t answer;
    c->request.len = 0;
    mu_buf_append_u8(&c->request, C10D_CANCEL_WAIT);
    if (store_call_send_within_limit(c, err) != 0 || store_call_recv_u8(c, &answer, err) != 0) {
        return -1;
    }
    bool is_done = answer == C10D_WAIT_DONE;
    if (is_done && store_call_recv_u8(c, &answer, err) != 0) {
        return -1;
    }
    if (answer != C10D_WAIT_CANCELED) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "answered %u to a cancellation", answer);
    }
    *ret_is_done = is_done;
    return 0;
}

/* The limit of taking back a wait that ended so. */
static struct store_io_limit limit_to_take_back(const struct store_conn *c, enum mu_err_code why)
{
    if (why == MU_E_CANCELED) {
        struct store_io_limit limit = store_call_limit(c, STORE_GRACE_MS, 0);
        limit.cancel_fd = -1; /* it is raised: that must not cut this short again */
        limit.is_canceled = true;
        return limit;
    }
    /* A short timeout is for those who are waited for; a server may have its hands full once. */
    int64_t ms = c->timeout_ms > STORE_GRACE_MS ? c->timeout_ms : STORE_GRACE_MS;
    return store_call_limit(c, ms, STORE_GRACE_MS);
}

/* The answer to a WAIT or BARRIER, or its end; `ret_in_step`: the connection can still be used. */
static int await_done(struct store_conn *c, int64_t timeout_ms, bool *ret_in_step,
                      struct mu_err *err)
{
    uint8_t answer;
    struct mu_err why = MU_ERR_INIT;
    c->limit = store_call_limit(c, timeout_ms, 0);
    if (store_call_recv_u8(c, &answer, &why) == 0) {
        return check_done(answer, err);
    }
    if (why.code != MU_E_TIMEOUT && why.code != MU_E_CANCELED) {
        return mu_err_set(err, why.code, 0, "%s", why.text);
    }
    bool is_done = false;
    c->limit = limit_to_take_back(c, why.code);
    struct mu_err trouble = MU_ERR_INIT;
    if (take_back(c, &is_done, &trouble) != 0) {
        /* Who cancelled wants to hear that; what the server did then matters less. */
        enum mu_err_code code = why.code == MU_E_CANCELED ? MU_E_CANCELED : trouble.code;
        return mu_err_set(err, code, 0, "%s", trouble.text);
    }
    *ret_in_step = true;
    if (is_done) {
        return 0;
    }
    if (why.code == MU_E_CANCELED) {
        return mu_err_set(err, MU_E_CANCELED, 0, "cancelled");
    }
    return mu_err_set(err, MU_E_TIMEOUT, 0, "not complete after %" PRId64 " ms", timeout_ms);
}

/* Send a WAIT or BARRIER and wait for its answer. */
static int ask_and_wait(struct store_conn *c, int64_t timeout_ms, const char *call, const char *key,
                        struct mu_err *err)
{
    bool is_in_step = false;
    if (store_call_send(c, err) == 0 && await_done(c, timeout_ms, &is_in_step, err) == 0) {
        return 0;
    }
    if (is_in_step) {
        return mu_err_wrap(err, "store %s: %s '%s'", c->name, call, key);
    }
    return store_call_failed(c, call, key, err);
}

static int begin_wait(struct store_conn *c, const char *const *keys, size_t count,
                      struct mu_err *err)
{
    return store_call_begin(c, C10D_WAIT, err) != 0 ||
                   store_call_put_keys(c, keys, NULL, count, err) != 0
               ? -1
               : 0;
}

int store_call_wait(struct store_conn *c, const char *const *keys, size_t count, int64_t timeout_ms,
                    const char *call, struct mu_err *err)
{
    char what[128]; /* the call, and how many it waits for if that is not one */
    snprintf(what, sizeof(what), count == 1 ? "%s" : "%s of %zu keys from", call, count);
    const char *first = count > 0 ? keys[0] : "";
    if (begin_wait(c, keys, count, err) != 0) {
        return store_call_failed(c, what, first, err);
    }
    return ask_and_wait(c, timeout_ms, what, first, err);
}

int store_conn_wait(struct store_conn *c, const char *const *keys, size_t count, int64_t timeout_ms,
                    struct mu_err *err)
{
    return store_call_wait(c, keys, count, timeout_ms < 0 ? c->timeout_ms : timeout_ms, "wait",
                           err);
}

/* ---- barrier ---- */

/*
 * As the barrier of PyTorch's PrefixStore, which counts in one key and opens another: so ranks in C
 * and in Python meet. Any version of the server can do it.
 */
static int prefixed_barrier(struct store_conn *c, const char *key, int64_t world_size,
                            struct mu_err *err)
{
    mu_autofree char *arrived = mu_asprintf("%s/num_members", key);
    mu_autofree char *open = mu_asprintf("%s/last_member", key);
    int64_t count;
    if (store_conn_add(c, arrived, 1, &count, err) != 0 ||
        (count == world_size && store_conn_set(c, open, mu_slice_of("1"), err) != 0)) {
        return -1;
    }
    const char *const keys[] = {open};
    return store_conn_wait(c, keys, 1, -1, err);
}

int store_conn_barrier(struct store_conn *c, const char *key, int64_t world_size,
                       struct mu_err *err)
{
    if (c->has_prefix) {
        return prefixed_barrier(c, key, world_size, err) != 0
                   ? mu_err_wrap(err, "barrier of %" PRId64, world_size)
                   : 0;
    }
    if (store_call_begin(c, C10D_BARRIER, err) != 0 || store_call_put_key(c, key, err) != 0) {
        return store_call_failed(c, "barrier", key, err);
    }
    mu_buf_append_u64(&c->request, (uint64_t)world_size);
    return ask_and_wait(c, c->timeout_ms, "barrier", key, err);
}

/* ---- without blocking ---- */

int store_conn_fd(const struct store_conn *c)
{
    return c->fd;
}

int store_conn_wait_start(struct store_conn *c, const char *const *keys, size_t count,
                          struct mu_err *err)
{
    if (begin_wait(c, keys, count, err) != 0 || store_call_send(c, err) != 0) {
        return store_call_failed(c, "wait_start", count > 0 ? keys[0] : "", err);
    }
    c->is_waiting = true;
    return 0;
}

/* Is there a started wait to speak of? */
static int check_started(struct store_conn *c, struct mu_err *err)
{
    if (c->fd < 0) {
        return mu_err_set(err, MU_E_LOST, 0, "the connection was lost before");
    }
    if (!c->is_waiting) {
        return mu_err_set(err, MU_E_USAGE, 0, "no wait was started");
    }
    return 0;
}

int store_conn_wait_poll(struct store_conn *c, bool *ret_is_done, struct mu_err *err)
{
    if (check_started(c, err) != 0) {
        return mu_err_wrap(err, "store %s: wait_poll", c->name);
    }
    uint8_t answer;
    struct mu_err why = MU_ERR_INIT;
    c->is_sent = true; /* the WAIT was, though other calls may have been refused since */
    c->limit = store_call_limit(c, 0, 0);
    c->limit.cancel_fd = -1; /* nothing is waited for that could be cut short */
    if (store_call_recv_u8(c, &answer, &why) == 0) {
        if (check_done(answer, err) != 0) {
            return store_call_failed(c, "wait_poll", NULL, err);
        }
        c->is_waiting = false;
    } else if (why.code != MU_E_TIMEOUT) {
        mu_err_set(err, why.code, 0, "%s", why.text);
        return store_call_failed(c, "wait_poll", NULL, err);
    }
    *ret_is_done = !c->is_waiting;
    return 0;
}

int store_conn_wait_stop(struct store_conn *c, bool *ret_is_done, struct mu_err *err)
{
    if (check_started(c, err) != 0) {
        return mu_err_wrap(err, "store %s: wait_stop", c->name);
    }
    bool is_done = false;
    c->limit = limit_to_take_back(c, MU_E_NONE);
    if (take_back(c, &is_done, err) != 0) {
        return store_call_failed(c, "wait_stop", NULL, err);
    }
    c->is_waiting = false;
    if (ret_is_done != NULL) {
        *ret_is_done = is_done;
    }
    return 0;
}
