/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/store_query.h"
#include "rendezvous/store_state.h"
#include "rendezvous/store_wait.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SMALL_BUFFER = 256 }; /* for a partial request; kept for the next one */

/* ---- the store and its clients ---- */

struct store *store_new(uint64_t max_bytes)
{
    struct store *s = mu_alloc(sizeof(*s));
    s->max_bytes = max_bytes;
    store_table_init(&s->table);
    return s;
}

struct store_stats store_get_stats(const struct store *s)
{
    return (struct store_stats){
        .keys = s->table.keys,
        .bytes = s->table.bytes + s->wait_bytes,
        .unread = s->table.unread->bytes,
        .partial = s->partial_bytes,
        .waiting = s->waiting,
        .clients = s->clients,
        .queries = s->queries,
    };
}

static void mark_ready(struct store_client *c)
{
    if (c->is_ready) {
        return;
    }
    struct store *s = c->store;
    c->is_ready = true;
    c->ready_next = NULL;
    c->ready_prev = s->last_ready;
    if (s->last_ready != NULL) {
        s->last_ready->ready_next = c;
    } else {
        s->first_ready = c;
    }
    s->last_ready = c;
}

static void unmark_ready(struct store_client *c)
{
    if (!c->is_ready) {
        return;
    }
    struct store *s = c->store;
    *(c->ready_prev != NULL ? &c->ready_prev->ready_next : &s->first_ready) = c->ready_next;
    *(c->ready_next != NULL ? &c->ready_next->ready_prev : &s->last_ready) = c->ready_prev;
    c->is_ready = false;
    c->ready_next = NULL;
    c->ready_prev = NULL;
}

struct store_client *store_take_ready(struct store *s)
{
    struct store_client *c = s->first_ready;
    if (c != NULL) {
        unmark_ready(c);
    }
    return c;
}

void store_client_init(struct store_client *c, struct store *s)
{
    *c = (struct store_client){.store = s, .next = s->first_client};
    if (s->first_client != NULL) {
        s->first_client->prev = c;
    }
    s->first_client = c;
    s->clients++;
}

/* Keep the beginning of a request. All clients together may keep as much as the store may hold. */
static int keep_partial(struct store_client *c, const uint8_t *data, size_t len, struct mu_err *err)
{
    struct store *s = c->store;
    if (s->max_bytes != 0 && s->partial_bytes + len > s->max_bytes) {
        return mu_err_set(err, MU_E_LIMIT, 0,
                          "unfinished requests of all clients: %" PRIu64
                          " bytes, the limit is %" PRIu64,
                          s->partial_bytes + len, s->max_bytes);
    }
    mu_buf_append(&c->partial, data, len);
    s->partial_bytes += len;
    return 0;
}

static void drop_partial(struct store_client *c)
{
    c->store->partial_bytes -= c->partial.len;
    c->partial.len = 0;
    if (c->partial.cap > SMALL_BUFFER) {
        mu_buf_fini(&c->partial);
    }
}

static void detach(struct store *s, struct store_client *c)
{
    store_wait_end(c);
    drop_partial(c);
    unmark_ready(c);
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        s->first_client = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    c->next = NULL;
    c->prev = NULL;
    c->store = NULL;
    s->clients--;
}

void store_client_fini(struct store_client *c)
{
    if (c->store != NULL) {
        detach(c->store, c);
    }
    store_out_fini(&c->out);
    mu_buf_fini(&c->partial);
}

void store_free(struct store *s)
{
    if (s == NULL) {
        return;
    }
    while (s->first_client != NULL) {
        detach(s, s->first_client);
    }
    store_table_fini(&s->table);
    free(s);
}

/* ---- replies ---- */

void store_reply_u8(struct store_client *c, uint8_t v)
{
    mu_buf_append_u8(&c->out.bytes, v);
    mark_ready(c);
}

void store_reply_u32(struct store_client *c, uint32_t v)
{
    mu_buf_append_u32(&c->out.bytes, v);
    mark_ready(c);
}

void store_reply_i64(struct store_client *c, int64_t v)
{
    mu_buf_append_u64(&c->out.bytes, (uint64_t)v);
    mark_ready(c);
}

int store_reply_room(const struct store_client *c, size_t size, struct mu_err *err)
{
    size_t own = store_out_own(&c->out) + size;
    if (own <= MU_STORE_MAX_REPLY) {
        return 0;
    }
    return mu_err_set(err, MU_E_LIMIT, 0, "replies of %zu bytes that are not read, the limit is %d",
                      own, MU_STORE_MAX_REPLY);
}

int store_reply_str(struct store_client *c, struct mu_slice s, struct mu_err *err)
{
    if (store_reply_room(c, sizeof(uint64_t) + s.len, err) != 0) {
        return -1;
    }
    c10d_put_str(&c->out.bytes, s);
    mark_ready(c);
    return 0;
}

int store_reply_value(struct store_client *c, struct store_value *v, struct mu_err *err)
{
    if (store_reply_room(c, sizeof(uint64_t) + STORE_SHARE_FROM, err) != 0) {
        return -1;
    }
    store_out_put_value(&c->out, v);
    mark_ready(c);
    return 0;
}

int store_charge(const struct store *s, size_t size, struct mu_err *err)
{
    uint64_t held = s->table.bytes + s->wait_bytes + s->table.unread->bytes;
    if (s->max_bytes == 0 || held + size <= s->max_bytes) {
        return 0;
    }
    return mu_err_set(err, MU_E_LIMIT, 0,
                      "the store is full: %" PRIu64 " bytes held, the limit is %" PRIu64, held,
                      s->max_bytes);
}

/* ---- requests ---- */

/* What a peer that does not open with VALIDATE might be. */
static int refuse_stranger(uint8_t first, struct mu_err *err)
{
    if (first <= C10D_QUERY_LAST) {
        return mu_err_set(err, MU_E_PROTOCOL, 0,
                          "opens with query %u instead of VALIDATE: a client older than torch 2.2",
                          first);
    }
    return mu_err_set(err, MU_E_PROTOCOL, 0,
                      "opens with byte 0x%02x instead of VALIDATE: no TCPStore client", first);
}

/* Decode and execute the request at data[0..len); the status as c10d_decode() has it. */
static enum c10d_status step(struct store_client *c, const uint8_t *data, size_t len,
                             size_t *ret_used, struct mu_err *err)
{
    if (!c->is_validated && data[0] != C10D_VALIDATE) {
        refuse_stranger(data[0], err);
        return C10D_ERROR;
    }
    struct c10d_request req;
    enum c10d_status status = c10d_decode(&c->scan, data, len, &req, ret_used, err);
    if (status == C10D_DONE && store_query_execute(c, &req, err) != 0) {
        return C10D_ERROR;
    }
    return status;
}

/*
 * Add to the partial request what it needs for another step, and take that step. Of a list that is
 * here already more than one string at a time is added: a step for each would be slow.
 */
static enum c10d_status feed_partial(struct store_client *c, const uint8_t *data, size_t len,
                                     size_t *ret_used, struct mu_err *err)
{
    size_t wanted = c->scan.need + c10d_scan_rest(&c->scan) - c->partial.len;
    size_t taken = len < wanted ? len : wanted;
    if (keep_partial(c, data, taken, err) != 0) {
        return C10D_ERROR;
    }
    *ret_used = taken;
    if (c->partial.len < c->scan.need) {
        return C10D_MORE;
    }
    size_t used;
    enum c10d_status status = step(c, c->partial.data, c->partial.len, &used, err);
    if (status == C10D_DONE) {
        drop_partial(c);
    }
    return status;
}

int store_client_feed(struct store_client *c, const void *data, size_t len, struct mu_err *err)
{
    if (c->store == NULL) {
        return mu_err_set(err, MU_E_LOST, 0, "the store has been closed");
    }
    if (c->is_broken) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "more data after an error");
    }
    const uint8_t *pos = data;
    while (len > 0) {
        size_t used = len;
        enum c10d_status status;
        if (c->partial.len > 0) {
            status = feed_partial(c, pos, len, &used, err);
        } else {
            status = step(c, pos, len, &used, err);
            if (status == C10D_MORE && keep_partial(c, pos, len, err) != 0) {
                status = C10D_ERROR;
            }
        }
        if (status == C10D_ERROR) {
            c->is_broken = true;
            store_wait_end(c);
            drop_partial(c);
            return -1;
        }
        pos += used;
        len -= used;
    }
    return 0;
}
