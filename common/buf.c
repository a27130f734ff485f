/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/buf.h"

#include "muster/mem.h"

#include <ctype.h>
#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mu_slice mu_slice_of(const char *text)
{
    return (struct mu_slice){.ptr = text != NULL ? text : "",
                             .len = text != NULL ? strlen(text) : 0};
}

bool mu_slice_eq(struct mu_slice a, struct mu_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

char *mu_slice_dup(struct mu_slice s)
{
    char *copy = mu_alloc(s.len + 1);
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    return copy;
}

struct mu_slice mu_slice_trim(struct mu_slice s)
{
    while (s.len > 0 && isspace((unsigned char)s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

bool mu_slice_next_entry(const char **rest, struct mu_slice *ret_entry)
{
    const char *entry = *rest;
    if (entry == NULL) {
        return false;
    }
    size_t len = strcspn(entry, ",");
    *rest = entry[len] == ',' ? entry + len + 1 : NULL;
    *ret_entry = mu_slice_trim((struct mu_slice){.ptr = entry, .len = len});
    return true;
}

void mu_buf_fini(struct mu_buf *b)
{
    free(b->data);
    *b = (struct mu_buf){0};
}

uint8_t *mu_buf_reserve(struct mu_buf *b, size_t extra)
{
    if (b->cap == 0 || b->cap - b->len < extra) {
        size_t cap = b->cap > 0 ? b->cap : 64;
        while (cap - b->len < extra) {
            MU_REQUIRE(cap <= SIZE_MAX / 2);
            cap *= 2;
        }
        b->data = mu_realloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void mu_buf_append(struct mu_buf *b, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(mu_buf_reserve(b, len), data, len);
        b->len += len;
    }
}

void mu_buf_append_u8(struct mu_buf *b, uint8_t v)
{
    mu_buf_append(b, &v, sizeof(v));
}

void mu_buf_append_u16(struct mu_buf *b, uint16_t v)
{
    v = htole16(v);
    mu_buf_append(b, &v, sizeof(v));
}

void mu_buf_append_u32(struct mu_buf *b, uint32_t v)
{
    v = htole32(v);
    mu_buf_append(b, &v, sizeof(v));
}

void mu_buf_append_u64(struct mu_buf *b, uint64_t v)
{
    v = htole64(v);
    mu_buf_append(b, &v, sizeof(v));
}

void mu_buf_printf(struct mu_buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    MU_REQUIRE(n >= 0);
    mu_buf_append(b, text, (size_t)n);
    free(text);
}

void mu_buf_consume(struct mu_buf *b, size_t n)
{
    MU_REQUIRE(n <= b->len);
    if (n > 0) {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
}

char *mu_buf_take_text(struct mu_buf *b)
{
    mu_buf_append_u8(b, '\0');
    char *text = (char *)b->data;
    *b = (struct mu_buf){0};
    return text;
}

void mu_buf_put_u32(struct mu_buf *b, size_t at, uint32_t v)
{
    MU_REQUIRE(b->len >= sizeof(v) && at <= b->len - sizeof(v));
    v = htole32(v);
    memcpy(b->data + at, &v, sizeof(v));
}

struct mu_reader mu_reader_of(const void *data, size_t len)
{
    const uint8_t *start = data;
    return (struct mu_reader){.pos = start, .end = len > 0 ? start + len : start};
}

size_t mu_reader_left(const struct mu_reader *r)
{
    return (size_t)(r->end - r->pos);
}

/* Copy n bytes out, or zeros if they are not there. */
static void take(struct mu_reader *r, void *out, size_t n)
{
    if (r->failed || mu_reader_left(r) < n) {
        r->failed = true;
        memset(out, 0, n);
        return;
    }
    memcpy(out, r->pos, n);
    r->pos += n;
}

uint8_t mu_read_u8(struct mu_reader *r)
{
    uint8_t v;
    take(r, &v, sizeof(v));
    return v;
}

uint16_t mu_read_u16(struct mu_reader *r)
{
    uint16_t v;
    take(r, &v, sizeof(v));
    return le16toh(v);
}

uint32_t mu_read_u32(struct mu_reader *r)
{
    uint32_t v;
    take(r, &v, sizeof(v));
    return le32toh(v);
}

uint64_t mu_read_u64(struct mu_reader *r)
{
    uint64_t v;
    take(r, &v, sizeof(v));
    return le64toh(v);
}

struct mu_slice mu_read_bytes(struct mu_reader *r, size_t n)
{
    if (r->failed || mu_reader_left(r) < n) {
        r->failed = true;
        return (struct mu_slice){.ptr = ""};
    }
    struct mu_slice s = {.ptr = n > 0 ? (const char *)r->pos : "", .len = n};
    r->pos += n;
    return s;
}
