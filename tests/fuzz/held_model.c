/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/held_model.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    LARGE = 1024, /* "Under pressure": replies refer to values from this size on */
    REPLIES = 2 * STORE_MODEL_CLIENTS,
};

static bool refers(const struct referred *r, uint64_t version)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->values[i].version == version) {
            return true;
        }
    }
    return false;
}

ptrdiff_t held_find(const struct store_model *m, enum kind kind, struct mu_slice key)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->held[i].kind == kind && mu_slice_eq(m->held[i].key, key)) {
            return (ptrdiff_t)i;
        }
    }
    return HELD_NOT_FOUND;
}

bool held_is_present(const struct store_model *m, struct mu_slice key)
{
    return held_find(m, VALUE, key) != HELD_NOT_FOUND || held_find(m, ITEM, key) != HELD_NOT_FOUND;
}

static struct mu_slice copy(struct mu_slice s)
{
    return (struct mu_slice){.ptr = mu_slice_dup(s), .len = s.len};
}

void held_add(struct store_model *m, struct held h)
{
    if (m->count == m->room) {
        m->room = 2 * m->room + 16;
        m->held = mu_realloc(m->held, m->room * sizeof(*m->held));
    }
    h.key = copy(h.key);
    h.bytes = copy(h.bytes);
    h.version = ++m->versions;
    m->held[m->count++] = h;
}

void held_drop(struct store_model *m, size_t i)
{
    free((char *)m->held[i].key.ptr);
    free((char *)m->held[i].bytes.ptr);
    m->count--;
    memmove(&m->held[i], &m->held[i + 1], (m->count - i) * sizeof(*m->held));
}

/* What a name costs that is not among the first `before` entries yet. */
static uint64_t cost_of_name(const struct store_model *m, size_t before, struct mu_slice key)
{
    for (size_t i = 0; i < before; i++) {
        if (mu_slice_eq(m->held[i].key, key)) {
            return 0;
        }
    }
    return m->costs.name + key.len;
}

uint64_t held_bytes(const struct store_model *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct held *h = &m->held[i];
        bytes += cost_of_name(m, i, h->key) + h->bytes.len;
        bytes += h->kind == ITEM ? m->costs.item : 0;
    }
    for (size_t i = 0; i < STORE_MODEL_CLIENTS; i++) {
        bytes += m->clients[i].waits * m->costs.wait;
    }
    return bytes;
}

void held_refer(struct referred *r, const struct held *h)
{
    if (h->bytes.len < LARGE || refers(r, h->version)) {
        return;
    }
    r->values = mu_realloc(r->values, (r->count + 1) * sizeof(*r->values));
    r->values[r->count].version = h->version;
    r->values[r->count++].len = h->bytes.len;
}

/* All replies, those that wait and those that are being sent. */
static const struct referred *replies(const struct store_model *m, size_t i)
{
    return i < STORE_MODEL_CLIENTS ? &m->clients[i].referred : &m->taken[i - STORE_MODEL_CLIENTS];
}

/* Do the first `before` replies refer to it? */
static bool is_referred(const struct store_model *m, size_t before, uint64_t version)
{
    for (size_t i = 0; i < before; i++) {
        if (refers(replies(m, i), version)) {
            return true;
        }
    }
    return false;
}

static bool is_stored(const struct store_model *m, uint64_t version)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->held[i].kind != WAIT && m->held[i].version == version) {
            return true;
        }
    }
    return false;
}

uint64_t held_unread(const struct store_model *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < REPLIES; i++) {
        const struct referred *r = replies(m, i);
        for (size_t j = 0; j < r->count; j++) {
            uint64_t version = r->values[j].version;
            if (!is_stored(m, version) && !is_referred(m, i, version)) {
                bytes += m->costs.unread + r->values[j].len;
            }
        }
    }
    return bytes;
}

uint64_t held_growth(const struct store_model *m, struct mu_slice key, size_t len)
{
    ptrdiff_t i = held_find(m, VALUE, key);
    if (i == HELD_NOT_FOUND) {
        return len;
    }
    if (is_referred(m, REPLIES, m->held[i].version)) {
        return m->costs.unread + len; /* the old one stays as well */
    }
    size_t old = m->held[i].bytes.len;
    return len > old ? len - old : 0;
}

bool held_has_room(const struct store_model *m, uint64_t more)
{
    return m->max_bytes == 0 || held_bytes(m) + held_unread(m) + more <= m->max_bytes;
}

bool held_has_room_at(const struct store_model *m, struct mu_slice key, uint64_t more)
{
    return held_has_room(m, cost_of_name(m, m->count, key) + more);
}

uint64_t held_keys(const struct store_model *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        n += m->held[i].kind == VALUE;
    }
    return n;
}

uint64_t held_items(const struct store_model *m, struct mu_slice key)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        n += m->held[i].kind == ITEM && mu_slice_eq(m->held[i].key, key);
    }
    return n;
}

void held_set_value(struct store_model *m, struct mu_slice key, struct mu_slice value)
{
    ptrdiff_t i = held_find(m, VALUE, key);
    if (i == HELD_NOT_FOUND) {
        held_add(m, (struct held){.kind = VALUE, .key = key, .bytes = value});
    } else {
        free((char *)m->held[i].bytes.ptr);
        m->held[i].bytes = copy(value);
        m->held[i].version = ++m->versions;
    }
}
