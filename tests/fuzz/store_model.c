/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/store_model.h"

#include "muster/mem.h"
#include "tests/fuzz/query_model.h"

#include <stdlib.h>
#include <string.h>

struct store_model *store_model_new(uint64_t max_bytes, struct store_model_costs costs)
{
    struct store_model *m = mu_alloc(sizeof(*m));
    m->max_bytes = max_bytes;
    m->costs = costs;
    return m;
}

void store_model_free(struct store_model *m)
{
    for (size_t i = 0; i < STORE_MODEL_CLIENTS; i++) {
        store_model_close(m, i);
        store_model_sent(m, i);
    }
    while (m->count > 0) {
        held_drop(m, m->count - 1);
    }
    free(m->held);
    free(m);
}

void store_model_open(struct store_model *m, size_t client)
{
    m->clients[client] = (struct model_client){.is_open = true};
}

void store_model_close(struct store_model *m, size_t client)
{
    struct model_client *c = &m->clients[client];
    query_model_end_wait(m, client);
    mu_buf_fini(&c->in);
    mu_buf_fini(&c->out);
    free(c->lists);
    free(c->referred.values);
    *c = (struct model_client){0};
}

static uint64_t partial(const struct store_model *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < STORE_MODEL_CLIENTS; i++) {
        bytes += m->clients[i].in.len;
    }
    return bytes;
}

/* Requests that have come in part are held beside the rest, to the same limit. */
static bool has_room_for_part(const struct store_model *m, size_t client, size_t part)
{
    return m->max_bytes == 0 || partial(m) - m->clients[client].in.len + part <= m->max_bytes;
}

/* Apply the requests that are whole now. One that began earlier is put together before. */
static bool take_requests(struct store_model *m, size_t client, bool is_begun)
{
    static struct wire_request r;
    struct model_client *c = &m->clients[client];
    for (; c->in.len > 0; is_begun = false) {
        if (!c->is_validated && c->in.data[0] != 0) {
            return false;
        }
        enum wire_status status = wire_parse(c->in.data, c->in.len, &r);
        if (status == WIRE_BAD) {
            return false;
        }
        if (status == WIRE_PART) {
            return has_room_for_part(m, client, c->in.len);
        }
        if (is_begun && !has_room_for_part(m, client, r.len)) {
            return false;
        }
        m->queries++;
        if (!query_model_execute(m, client, &r)) {
            return false;
        }
        mu_buf_consume(&c->in, r.len);
    }
    return true;
}

bool store_model_feed(struct store_model *m, size_t client, const void *data, size_t len)
{
    struct model_client *c = &m->clients[client];
    bool is_begun = c->in.len > 0;
    mu_buf_append(&c->in, data, len);
    if (take_requests(m, client, is_begun)) {
        return true;
    }
    query_model_end_wait(m, client);
    mu_buf_fini(&c->in);
    return false;
}

/* The same strings, in any order? */
static bool is_permutation(struct mu_slice expected, struct mu_slice sent)
{
    size_t matched = 0;
    struct mu_reader wanted = mu_reader_of(expected.ptr, expected.len);
    while (mu_reader_left(&wanted) > 0) {
        const uint8_t *start = wanted.pos;
        mu_read_bytes(&wanted, mu_read_u64(&wanted));
        struct mu_reader r = mu_reader_of(sent.ptr, sent.len);
        bool is_found = false;
        while (mu_reader_left(&r) > 0 && !r.failed && !is_found) {
            const uint8_t *at = r.pos;
            mu_read_bytes(&r, mu_read_u64(&r));
            is_found = !r.failed && r.pos - at == wanted.pos - start &&
                       memcmp(at, start, (size_t)(r.pos - at)) == 0;
        }
        if (!is_found) {
            return false;
        }
        matched += (size_t)(wanted.pos - start);
    }
    return matched == sent.len; /* no key is listed twice, so each was found once */
}

bool store_model_matches(const struct store_model *m, size_t client, struct mu_slice sent)
{
    const struct model_client *c = &m->clients[client];
    const char *out = (const char *)c->out.data;
    size_t at = 0;
    if (sent.len != c->out.len) {
        return false;
    }
    for (size_t i = 0; i <= c->list_count; i++) {
        size_t to = i < c->list_count ? c->lists[i].from : c->out.len;
        if (to > at && memcmp(out + at, sent.ptr + at, to - at) != 0) {
            return false;
        }
        at = i < c->list_count ? c->lists[i].to : to;
        if (at > to && !is_permutation((struct mu_slice){.ptr = out + to, .len = at - to},
                                       (struct mu_slice){.ptr = sent.ptr + to, .len = at - to})) {
            return false;
        }
    }
    return true;
}

void store_model_take(struct store_model *m, size_t client)
{
    struct model_client *c = &m->clients[client];
    c->out.len = 0;
    c->list_count = 0;
    MU_REQUIRE(m->taken[client].values == NULL);
    m->taken[client] = c->referred;
    c->referred = (struct referred){0};
}

void store_model_sent(struct store_model *m, size_t client)
{
    free(m->taken[client].values);
    m->taken[client] = (struct referred){0};
}

uint32_t store_model_pid(const struct store_model *m, size_t client)
{
    return m->clients[client].pid;
}

struct store_stats store_model_stats(const struct store_model *m)
{
    struct store_stats stats = {
        .keys = held_keys(m),
        .bytes = held_bytes(m),
        .unread = held_unread(m),
        .partial = partial(m),
        .queries = m->queries,
    };
    for (size_t i = 0; i < STORE_MODEL_CLIENTS; i++) {
        stats.clients += m->clients[i].is_open;
        stats.waiting += m->clients[i].waits > 0;
    }
    return stats;
}

bool store_model_any(const struct store_model *m, struct mu_slice *ret_key, bool *ret_is_queue)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->held[i].kind != WAIT) {
            *ret_key = m->held[i].key;
            *ret_is_queue = m->held[i].kind == ITEM;
            return true;
        }
    }
    return false;
}
