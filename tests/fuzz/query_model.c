/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/query_model.h"

#include "muster/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NUMBER = 20 };

/* ---- replies ---- */

static void reply_str(struct model_client *c, struct mu_slice s)
{
    mu_buf_append_u64(&c->out, s.len);
    mu_buf_append(&c->out, s.ptr, s.len);
}

static void reply_value(const struct store_model *m, struct model_client *c, struct mu_slice key)
{
    ptrdiff_t i = held_find(m, VALUE, key);
    if (i == HELD_NOT_FOUND) {
        reply_str(c, (struct mu_slice){0});
        return;
    }
    reply_str(c, m->held[i].bytes);
    held_refer(&c->referred, &m->held[i]);
}

/* ---- waiting ---- */

void query_model_end_wait(struct store_model *m, size_t client)
{
    for (size_t i = m->count; i-- > 0;) {
        if (m->held[i].kind == WAIT && m->held[i].client == client) {
            held_drop(m, i);
        }
    }
    m->clients[client].waits = 0;
}

static bool is_waiting_for_more(const struct store_model *m, size_t client)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->held[i].kind == WAIT && m->held[i].client == client) {
            return true;
        }
    }
    return false;
}

/* The client does not wait for the key any more; if that was the last one, it is told. */
static void satisfy(struct store_model *m, struct mu_slice key, size_t client)
{
    struct model_client *c = &m->clients[client];
    if (c->waits == 0) {
        return;
    }
    for (size_t i = m->count; i-- > 0;) {
        const struct held *h = &m->held[i];
        if (h->kind == WAIT && h->client == client && mu_slice_eq(h->key, key)) {
            held_drop(m, i);
        }
    }
    if (!is_waiting_for_more(m, client)) {
        c->waits = 0;
        mu_buf_append_u8(&c->out, 0);
    }
}

static void wake_all(struct store_model *m, struct mu_slice key)
{
    for (size_t i = 0; i < STORE_MODEL_CLIENTS; i++) {
        satisfy(m, key, i);
    }
}

static void wake_who_waited_longest(struct store_model *m, struct mu_slice key)
{
    ptrdiff_t i = held_find(m, WAIT, key);
    if (i != HELD_NOT_FOUND) {
        satisfy(m, key, m->held[i].client);
    }
}

/* ---- queries; false: the connection is closed ---- */

static bool do_set(struct store_model *m, struct mu_slice key, struct mu_slice value)
{
    if (!held_has_room_at(m, key, held_growth(m, key, value.len))) {
        return false;
    }
    held_set_value(m, key, value);
    wake_all(m, key);
    return true;
}

static bool do_compare_set(struct store_model *m, struct model_client *c, const struct mu_slice *s)
{
    ptrdiff_t i = held_find(m, VALUE, s[0]);
    struct mu_slice stored = i != HELD_NOT_FOUND ? m->held[i].bytes : (struct mu_slice){0};
    if (!mu_slice_eq(stored, s[1])) {
        if (i == HELD_NOT_FOUND) {
            reply_str(c, s[1]);
        } else {
            reply_value(m, c, s[0]);
        }
        return true;
    }
    if (!do_set(m, s[0], s[2])) {
        return false;
    }
    reply_value(m, c, s[0]);
    return true;
}

/* A counter's room is that of the longest number. */
static bool add(struct store_model *m, struct mu_slice key, int64_t delta, int64_t *ret_sum)
{
    if (!held_has_room_at(m, key, held_growth(m, key, LONGEST_NUMBER))) {
        return false;
    }
    long long old = 0;
    ptrdiff_t i = held_find(m, VALUE, key);
    if (i != HELD_NOT_FOUND) {
        const char *text = m->held[i].bytes.ptr; /* copies end with a NUL */
        char *end;
        errno = 0;
        old = strtoll(text, &end, 10);
        if (end == text || errno == ERANGE) {
            return false;
        }
    }
    *ret_sum = (int64_t)((uint64_t)old + (uint64_t)delta);
    char sum[LONGEST_NUMBER + 1];
    snprintf(sum, sizeof(sum), "%" PRId64, *ret_sum);
    held_set_value(m, key, mu_slice_of(sum));
    return true;
}

static bool do_add(struct store_model *m, struct model_client *c, struct mu_slice key,
                   int64_t delta)
{
    int64_t sum;
    if (!add(m, key, delta, &sum)) {
        return false;
    }
    wake_all(m, key);
    mu_buf_append_u64(&c->out, (uint64_t)sum);
    return true;
}

static bool do_barrier(struct store_model *m, size_t client, struct mu_slice key, int64_t size)
{
    struct model_client *c = &m->clients[client];
    int64_t arrived;
    query_model_end_wait(m, client);
    if (!add(m, key, 1, &arrived)) {
        return false;
    }
    if (arrived >= size) {
        wake_all(m, key);
        mu_buf_append_u8(&c->out, 0);
        return true;
    }
    if (!held_has_room(m, m->costs.wait)) {
        return false;
    }
    held_add(m, (struct held){.kind = WAIT, .key = key, .client = client});
    c->waits = 1;
    return true;
}

static bool do_wait(struct store_model *m, size_t client, const struct wire_request *r)
{
    struct model_client *c = &m->clients[client];
    uint64_t missing = 0;
    query_model_end_wait(m, client);
    for (size_t i = 0; i < r->strings; i++) {
        if (!held_is_present(m, r->string[i])) {
            held_add(m, (struct held){.kind = WAIT, .key = r->string[i], .client = client});
            missing++;
        }
    }
    c->waits = missing;
    if (missing == 0) {
        mu_buf_append_u8(&c->out, 0);
        return true;
    }
    return held_has_room(m, 0); /* if not, who is closed waits no more */
}

static void do_check(const struct store_model *m, struct model_client *c,
                     const struct wire_request *r)
{
    bool is_ready = true;
    for (size_t i = 0; i < r->strings; i++) {
        is_ready = is_ready && held_is_present(m, r->string[i]);
    }
    mu_buf_append_u8(&c->out, is_ready ? 0 : 1);
}

static bool do_append(struct store_model *m, struct mu_slice key, struct mu_slice more)
{
    ptrdiff_t i = held_find(m, VALUE, key);
    size_t old = i != HELD_NOT_FOUND ? m->held[i].bytes.len : 0;
    if (!held_has_room_at(m, key, held_growth(m, key, old + more.len))) {
        return false;
    }
    struct mu_buf b = {0};
    if (i != HELD_NOT_FOUND) {
        mu_buf_append(&b, m->held[i].bytes.ptr, m->held[i].bytes.len);
    }
    mu_buf_append(&b, more.ptr, more.len);
    held_set_value(m, key, (struct mu_slice){.ptr = (const char *)b.data, .len = b.len});
    mu_buf_fini(&b);
    wake_all(m, key);
    return true;
}

static bool do_queue_push(struct store_model *m, struct mu_slice key, struct mu_slice value)
{
    if (!held_has_room_at(m, key, m->costs.item + value.len)) {
        return false;
    }
    held_add(m, (struct held){.kind = ITEM, .key = key, .bytes = value});
    wake_who_waited_longest(m, key);
    return true;
}

static void do_queue_pop(struct store_model *m, struct model_client *c, struct mu_slice key)
{
    ptrdiff_t i = held_find(m, ITEM, key);
    mu_buf_append_u64(&c->out, held_items(m, key));
    if (i != HELD_NOT_FOUND) {
        reply_str(c, m->held[i].bytes);
        held_refer(&c->referred, &m->held[i]);
        held_drop(m, (size_t)i);
    }
}

static void do_list_keys(const struct store_model *m, struct model_client *c)
{
    mu_buf_append_u64(&c->out, held_keys(m));
    c->lists = mu_realloc(c->lists, (c->list_count + 1) * sizeof(*c->lists));
    struct span *span = &c->lists[c->list_count++];
    span->from = c->out.len;
    for (size_t i = 0; i < m->count; i++) {
        if (m->held[i].kind == VALUE) {
            reply_str(c, m->held[i].key);
        }
    }
    span->to = c->out.len;
}

static void do_delete_key(struct store_model *m, struct model_client *c, struct mu_slice key)
{
    ptrdiff_t i = held_find(m, VALUE, key);
    mu_buf_append_u64(&c->out, i != HELD_NOT_FOUND ? 1 : 0);
    if (i != HELD_NOT_FOUND) {
        held_drop(m, (size_t)i);
    }
}

/* ---- by opcode ---- */

static bool do_validate(struct model_client *c, int64_t magic)
{
    bool is_right = !c->is_validated && magic == 0x3C85F7CE;
    c->is_validated = true;
    return is_right;
}

static void do_ping(struct model_client *c, int64_t pid)
{
    c->pid = (uint32_t)pid;
    mu_buf_append_u32(&c->out, c->pid);
}

static void do_multi_get(const struct store_model *m, struct model_client *c,
                         const struct wire_request *r)
{
    for (size_t i = 0; i < r->strings; i++) {
        reply_value(m, c, r->string[i]);
    }
}

static bool do_multi_set(struct store_model *m, const struct wire_request *r)
{
    bool is_done = true;
    for (size_t i = 0; i < r->strings && is_done; i += 2) {
        is_done = do_set(m, r->string[i], r->string[i + 1]);
    }
    return is_done;
}

bool query_model_execute(struct store_model *m, size_t client, const struct wire_request *r)
{
    struct model_client *c = &m->clients[client];
    const struct mu_slice *s = r->string;
    switch (r->query) {
    case 0:
        return do_validate(c, r->number);
    case 1:
        return do_set(m, s[0], s[1]);
    case 2:
        return do_compare_set(m, c, s);
    case 3:
        reply_value(m, c, s[0]);
        break;
    case 4:
        return do_add(m, c, s[0], r->number);
    case 5:
        do_check(m, c, r);
        break;
    case 6:
        return do_wait(m, client, r);
    case 7:
        mu_buf_append_u64(&c->out, held_keys(m));
        break;
    case 8:
        do_delete_key(m, c, s[0]);
        break;
    case 9:
        return do_append(m, s[0], s[1]);
    case 10:
        do_multi_get(m, c, r);
        break;
    case 11:
        return do_multi_set(m, r);
    case 12:
        query_model_end_wait(m, client);
        mu_buf_append_u8(&c->out, 1);
        break;
    case 13:
        do_ping(c, r->number);
        break;
    case 14:
        return do_queue_push(m, s[0], s[1]);
    case 15:
        do_queue_pop(m, c, s[0]);
        break;
    case 16:
        mu_buf_append_u64(&c->out, held_items(m, s[0]));
        break;
    case 17:
        do_list_keys(m, c);
        break;
    case 18:
        return do_barrier(m, client, s[0], r->number);
    default:
        return false;
    }
    return true;
}
