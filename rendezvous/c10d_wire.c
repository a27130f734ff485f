/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/c10d_wire.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

static const struct {
    const char *name;
    const char *fields;
} queries[] = {
#define X(name, opcode, fields) [opcode] = {#name, fields},
    C10D_QUERIES(X)
#undef X
};

/* The bytes there are, and how much of them has been read. */
struct cursor {
    const uint8_t *data; /* borrowed */
    size_t len;
    size_t pos;
    size_t need; /* set when a read finds too little */
    enum c10d_query query;
};

const char *c10d_query_name(enum c10d_query query)
{
    return queries[query].name;
}

static bool has(struct cursor *c, size_t n)
{
    if (c->len - c->pos < n) {
        c->need = c->pos + n;
        return false;
    }
    return true;
}

static uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static enum c10d_status take_number(struct cursor *c, size_t size, int64_t *ret_number)
{
    if (!has(c, size)) {
        return C10D_MORE;
    }
    uint64_t v = 0;
    memcpy(&v, c->data + c->pos, size);
    c->pos += size;
    *ret_number = (int64_t)le64toh(v);
    return C10D_DONE;
}

/* One key or value; `ret_str` may be NULL when it is only to be checked. */
static enum c10d_status take_str(struct cursor *c, bool is_key, struct mu_slice *ret_str,
                                 struct mu_err *err)
{
    if (!has(c, sizeof(uint64_t))) {
        return C10D_MORE;
    }
    uint64_t n = load_u64(c->data + c->pos);
    uint64_t limit = is_key ? MU_STORE_MAX_KEY : MU_STORE_MAX_VALUE;
    if (n > limit) {
        mu_err_set(err, MU_E_LIMIT, 0, "%s with a %s of %" PRIu64 " bytes, the limit is %" PRIu64,
                   c10d_query_name(c->query), is_key ? "key" : "value", n, limit);
        return C10D_ERROR;
    }
    if (!has(c, sizeof(uint64_t) + n)) {
        return C10D_MORE;
    }
    c->pos += sizeof(uint64_t);
    if (ret_str != NULL) {
        *ret_str = (struct mu_slice){.ptr = (const char *)c->data + c->pos, .len = n};
    }
    c->pos += n;
    return C10D_DONE;
}

size_t c10d_scan_rest(const struct c10d_scan *scan)
{
    return scan->left > 1 ? (scan->left - 1) * sizeof(uint64_t) : 0;
}

/* A list can be large and come in many pieces: what was checked once is not looked at again. */
static enum c10d_status take_list(struct cursor *c, struct c10d_scan *scan, bool has_values,
                                  struct c10d_request *req, struct mu_err *err)
{
    if (!has(c, sizeof(uint64_t))) {
        return C10D_MORE;
    }
    uint64_t count = load_u64(c->data + c->pos);
    if (count > MU_STORE_MAX_KEYS_PER_QUERY) {
        mu_err_set(err, MU_E_LIMIT, 0, "%s with %" PRIu64 " keys, the limit is %d",
                   c10d_query_name(c->query), count, MU_STORE_MAX_KEYS_PER_QUERY);
        return C10D_ERROR;
    }
    c->pos += sizeof(uint64_t);
    size_t start = c->pos;
    if (scan->pos == 0) {
        scan->pos = start;
        scan->left = (uint32_t)(has_values ? 2 * count : count);
    }
    c->pos = scan->pos;
    enum c10d_status status = C10D_DONE;
    while (scan->left > 0 && status == C10D_DONE) {
        status = take_str(c, !has_values || scan->left % 2 == 0, NULL, err);
        if (status == C10D_DONE) {
            scan->pos = c->pos;
            scan->left--;
        }
    }
    /* The request ends there or later: each string behind the present one has a length. */
    size_t least = status == C10D_MORE ? c->need + c10d_scan_rest(scan) : c->pos;
    if (status != C10D_ERROR && least > MU_STORE_MAX_REQUEST) {
        mu_err_set(err, MU_E_LIMIT, 0, "%s of more than %d bytes", c10d_query_name(c->query),
                   MU_STORE_MAX_REQUEST);
        return C10D_ERROR;
    }
    req->count = (uint32_t)count;
    req->list = (struct mu_slice){.ptr = (const char *)c->data + start, .len = c->pos - start};
    return status;
}

static enum c10d_status take_field(struct cursor *c, char field, struct c10d_scan *scan,
                                   struct c10d_request *req, struct mu_err *err)
{
    switch (field) {
    case 'u':
        return take_number(c, sizeof(uint32_t), &req->number);
    case 'i':
        return take_number(c, sizeof(int64_t), &req->number);
    case 'k':
        return take_str(c, true, &req->key, err);
    case 'v':
        return take_str(c, false, req->value.ptr == NULL ? &req->value : &req->second, err);
    default:
        return take_list(c, scan, field == 'P', req, err);
    }
}

enum c10d_status c10d_decode(struct c10d_scan *scan, const uint8_t *data, size_t len,
                             struct c10d_request *ret_request, size_t *ret_len, struct mu_err *err)
{
    MU_REQUIRE(len > 0);
    if (data[0] > C10D_QUERY_LAST) {
        mu_err_set(err, MU_E_PROTOCOL, 0, "unknown query %u", data[0]);
        return C10D_ERROR;
    }
    struct c10d_request req = {.query = (enum c10d_query)data[0]};
    struct cursor c = {.data = data, .len = len, .pos = 1, .query = req.query};
    for (const char *field = queries[req.query].fields; *field != '\0'; field++) {
        enum c10d_status status = take_field(&c, *field, scan, &req, err);
        if (status != C10D_DONE) {
            scan->need = c.need;
            return status;
        }
    }
    *scan = (struct c10d_scan){0};
    *ret_request = req;
    *ret_len = c.pos;
    return C10D_DONE;
}

struct mu_slice c10d_take_str(struct mu_slice *list)
{
    MU_REQUIRE(list->len >= sizeof(uint64_t));
    size_t n = load_u64((const uint8_t *)list->ptr);
    struct mu_slice s = {.ptr = list->ptr + sizeof(uint64_t), .len = n};
    list->ptr = s.ptr + n;
    list->len -= sizeof(uint64_t) + n;
    return s;
}

void c10d_put_str(struct mu_buf *b, struct mu_slice s)
{
    uint8_t *p = mu_buf_reserve(b, sizeof(uint64_t) + s.len);
    uint64_t n = htole64(s.len);
    memcpy(p, &n, sizeof(n));
    if (s.len > 0) {
        memcpy(p + sizeof(n), s.ptr, s.len);
    }
    b->len += sizeof(n) + s.len;
}

void c10d_show(struct mu_slice s, char *text, size_t size)
{
    MU_REQUIRE(size >= 16);
    const size_t widest = sizeof("\\x00...'"); /* what must still fit after each step */
    size_t at = 0;
    size_t i = 0;
    text[at++] = '\'';
    for (; i < s.len && at + widest <= size; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        if (ch >= ' ' && ch < 0x7F) {
            text[at++] = (char)ch;
        } else {
            at += (size_t)snprintf(text + at, size - at, "\\x%02x", ch);
        }
    }
    snprintf(text + at, size - at, "%s'", i < s.len ? "..." : "");
}
