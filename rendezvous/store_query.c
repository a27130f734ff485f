/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_query.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/store_counter.h"
#include "rendezvous/store_wait.h"

#include <inttypes.h>

enum { SHOWN = 96 }; /* of a peer's bytes in a message */

/* ---- keys ---- */

static struct store_entry *find(const struct store *s, struct mu_slice key)
{
    return store_table_find(&s->table, key, store_table_hash(&s->table, key));
}

static bool is_present(const struct store_entry *e)
{
    return e != NULL && (e->has_value || e->first_item != NULL);
}

/* Bytes by which the store grows when an entry's value is replaced by one of `size` bytes. */
static size_t growth(const struct store_entry *e, size_t size)
{
    if (e->value != NULL && store_value_is_shared(e->value)) {
        return sizeof(*e->value) + size; /* the old one is unread then */
    }
    size_t old = store_entry_value(e).len;
    return size > old ? size - old : 0;
}

/*
 * The entry of `key`, made if need be, with room for `size` bytes in place of its value, or beside
 * it. NULL at the limit.
 */
enum room { IN_PLACE, BESIDE };

static struct store_entry *need_entry(struct store *s, struct mu_slice key, enum room room,
                                      size_t size, struct mu_err *err)
{
    uint64_t hash = store_table_hash(&s->table, key);
    struct store_entry *e = store_table_find(&s->table, key, hash);
    if (e == NULL) {
        size += sizeof(*e) + key.len;
    } else if (room == IN_PLACE) {
        size = growth(e, size);
    }
    if (store_charge(s, size, err) != 0) {
        return NULL;
    }
    return e != NULL ? e : store_table_add(&s->table, key, hash);
}

/* NULL at the limit. */
static struct store_entry *set(struct store *s, struct mu_slice key, struct mu_slice value,
                               struct mu_err *err)
{
    struct store_entry *e = need_entry(s, key, IN_PLACE, value.len, err);
    if (e != NULL) {
        store_entry_set(&s->table, e, value);
        store_wait_wake_all(e);
    }
    return e;
}

/* Adds to the counter at `key`, wakes nobody. The sum wraps as PyTorch's does. */
static struct store_entry *add(struct store *s, const struct c10d_request *req, int64_t delta,
                               int64_t *ret_sum, struct mu_err *err)
{
    struct store_entry *e = need_entry(s, req->key, IN_PLACE, STORE_COUNTER_SIZE, err);
    if (e == NULL) {
        return NULL;
    }
    int64_t old = 0;
    if (e->has_value && store_counter_parse(store_entry_value(e), &old) != 0) {
        char key[SHOWN];
        char value[SHOWN];
        c10d_show(req->key, key, sizeof(key));
        c10d_show(store_entry_value(e), value, sizeof(value));
        mu_err_set(err, MU_E_PROTOCOL, 0, "%s on key %s whose value %s is not a 64-bit number",
                   c10d_query_name(req->query), key, value);
        return NULL;
    }
    int64_t sum = (int64_t)((uint64_t)old + (uint64_t)delta);
    char text[STORE_COUNTER_SIZE];
    store_entry_set(&s->table, e, store_counter_format(sum, text));
    *ret_sum = sum;
    return e;
}

/* ---- queries ---- */

typedef int (*query_fn)(struct store_client *c, struct c10d_request *req, struct mu_err *err);

static int do_validate(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    if (c->is_validated) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "a second VALIDATE");
    }
    if (req->number != C10D_MAGIC) {
        return mu_err_set(err, MU_E_PROTOCOL, 0,
                          "VALIDATE with 0x%08" PRIx64 " instead of 0x%08x: a client older than "
                          "torch 2.2, or no TCPStore client",
                          req->number, C10D_MAGIC);
    }
    c->is_validated = true;
    return 0;
}

static int do_ping(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)err;
    c->pid = (uint32_t)req->number;
    store_reply_u32(c, c->pid);
    return 0;
}

static int do_set(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    return set(c->store, req->key, req->value, err) != NULL ? 0 : -1;
}

static int do_compare_set(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    const struct store_entry *e = find(c->store, req->key);
    bool is_there = e != NULL && e->has_value;
    if (!is_there && req->value.len > 0) {
        return store_reply_str(c, req->value, err);
    }
    if (is_there && !mu_slice_eq(store_entry_value(e), req->value)) {
        return store_reply_value(c, e->value, err);
    }
    e = set(c->store, req->key, req->second, err);
    return e != NULL ? store_reply_value(c, e->value, err) : -1;
}

static int do_get(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    const struct store_entry *e = find(c->store, req->key);
    return store_reply_value(c, e != NULL ? e->value : NULL, err);
}

static int do_add(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    int64_t sum;
    struct store_entry *e = add(c->store, req, req->number, &sum, err);
    if (e == NULL) {
        return -1;
    }
    store_wait_wake_all(e);
    store_reply_i64(c, sum);
    return 0;
}

static int do_check(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)err;
    bool is_ready = true;
    while (req->list.len > 0 && is_ready) {
        is_ready = is_present(find(c->store, c10d_take_str(&req->list)));
    }
    store_reply_u8(c, is_ready ? C10D_CHECK_READY : C10D_CHECK_NOT_READY);
    return 0;
}

static int do_wait(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    struct store *s = c->store;
    store_wait_end(c); /* one that its client has given up without saying so */
    uint32_t missing = 0;
    for (struct mu_slice list = req->list; list.len > 0;) {
        missing += !is_present(find(s, c10d_take_str(&list)));
    }
    if (missing == 0) {
        store_reply_u8(c, C10D_WAIT_DONE);
        return 0;
    }
    if (store_wait_begin(c, missing, err) != 0) {
        return -1;
    }
    while (req->list.len > 0) {
        struct store_entry *e = need_entry(s, c10d_take_str(&req->list), BESIDE, 0, err);
        if (e == NULL) {
            return -1;
        }
        if (!is_present(e)) {
            store_wait_add(c, e);
        }
    }
    return 0;
}

static int do_cancel_wait(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)req;
    (void)err;
    store_wait_end(c);
    store_reply_u8(c, C10D_WAIT_CANCELED);
    return 0;
}

static int do_barrier(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    struct store *s = c->store;
    store_wait_end(c);
    int64_t arrived;
    struct store_entry *e = add(s, req, 1, &arrived, err);
    if (e == NULL) {
        return -1;
    }
    if (arrived >= req->number) {
        store_wait_wake_all(e);
        store_reply_u8(c, C10D_WAIT_DONE);
        return 0;
    }
    if (store_wait_begin(c, 1, err) != 0) {
        return -1;
    }
    store_wait_add(c, e);
    return 0;
}

static int do_getnumkeys(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)req;
    (void)err;
    store_reply_i64(c, (int64_t)c->store->table.keys);
    return 0;
}

static int do_delete_key(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)err;
    struct store_entry *e = find(c->store, req->key);
    bool is_there = e != NULL && e->has_value;
    if (is_there) {
        store_entry_unset(&c->store->table, e);
        store_table_drop_unused(&c->store->table, e);
    }
    store_reply_i64(c, is_there ? 1 : 0);
    return 0;
}

static int do_append(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    struct store *s = c->store;
    const struct store_entry *old = find(s, req->key);
    size_t len = (old != NULL ? store_entry_value(old).len : 0) + req->value.len;
    if (len > MU_STORE_MAX_REPLY - sizeof(uint64_t)) {
        return mu_err_set(err, MU_E_LIMIT, 0,
                          "APPEND to a value of %zu bytes, which then cannot "
                          "be read any more",
                          len);
    }
    struct store_entry *e = need_entry(s, req->key, IN_PLACE, len, err);
    if (e == NULL) {
        return -1;
    }
    store_entry_append(&s->table, e, req->value);
    store_wait_wake_all(e);
    return 0;
}

static int do_multi_get(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    while (req->list.len > 0) {
        const struct store_entry *e = find(c->store, c10d_take_str(&req->list));
        if (store_reply_value(c, e != NULL ? e->value : NULL, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int do_multi_set(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    while (req->list.len > 0) {
        struct mu_slice key = c10d_take_str(&req->list);
        if (set(c->store, key, c10d_take_str(&req->list), err) == NULL) {
            return -1;
        }
    }
    return 0;
}

static int do_queue_push(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    struct store *s = c->store;
    struct store_entry *e = need_entry(s, req->key, BESIDE, STORE_ITEM_SIZE + req->value.len, err);
    if (e == NULL) {
        return -1;
    }
    store_entry_push(&s->table, e, req->value);
    store_wait_wake_one(e);
    return 0;
}

static int do_queue_pop(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    struct store *s = c->store;
    struct store_entry *e = find(s, req->key);
    if (e == NULL || e->first_item == NULL) {
        store_reply_i64(c, 0);
        return 0;
    }
    if (store_reply_room(c, sizeof(uint64_t) + STORE_SHARE_FROM, err) != 0) {
        return -1; /* and the item stays */
    }
    store_reply_i64(c, (int64_t)e->items);
    struct store_value *value = store_entry_pop(&s->table, e);
    store_table_drop_unused(&s->table, e);
    store_out_put_value(&c->out, value);
    store_value_take_out(value, s->table.unread);
    return 0;
}

static int do_queue_len(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)err;
    const struct store_entry *e = find(c->store, req->key);
    store_reply_i64(c, e != NULL ? (int64_t)e->items : 0);
    return 0;
}

static int do_list_keys(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    (void)req;
    const struct store_table *t = &c->store->table;
    store_reply_i64(c, (int64_t)t->keys);
    for (size_t i = 0; i <= t->mask; i++) {
        for (const struct store_entry *e = t->buckets[i]; e != NULL; e = e->next) {
            if (e->has_value && store_reply_str(c, store_entry_key(e), err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static const query_fn execute[] = {
    [C10D_VALIDATE] = do_validate,
    [C10D_SET] = do_set,
    [C10D_COMPARE_SET] = do_compare_set,
    [C10D_GET] = do_get,
    [C10D_ADD] = do_add,
    [C10D_CHECK] = do_check,
    [C10D_WAIT] = do_wait,
    [C10D_GETNUMKEYS] = do_getnumkeys,
    [C10D_DELETE_KEY] = do_delete_key,
    [C10D_APPEND] = do_append,
    [C10D_MULTI_GET] = do_multi_get,
    [C10D_MULTI_SET] = do_multi_set,
    [C10D_CANCEL_WAIT] = do_cancel_wait,
    [C10D_PING] = do_ping,
    [C10D_QUEUE_PUSH] = do_queue_push,
    [C10D_QUEUE_POP] = do_queue_pop,
    [C10D_QUEUE_LEN] = do_queue_len,
    [C10D_LIST_KEYS] = do_list_keys,
    [C10D_BARRIER] = do_barrier,
};

int store_query_execute(struct store_client *c, struct c10d_request *req, struct mu_err *err)
{
    c->store->queries++;
    return execute[req->query](c, req, err);
}
