/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs for the request decoder: a few requests one after the other, most of them then damaged.
 * Only a quarter stays as it is, since what is refused, and where, is what the decoder is about.
 */
#include "tests/fuzz/soak.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

#include <endian.h>
#include <string.h>

enum {
    ROOM = 16 * 1024, /* for requests; the rest is for what damage adds */
    MAX_LENGTHS = 64, /* length fields whose place is remembered */
};

const uint64_t soak_default_inputs = 1000000;
const char *const soak_step_name = "requests";

/* An input in the making. */
struct draft {
    struct soak_rng *rng;
    uint8_t *data;
    size_t len;
    size_t lengths[MAX_LENGTHS]; /* where the length fields are */
    size_t length_count;
};

static void put(struct draft *d, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(d->data + d->len, bytes, len);
        d->len += len;
    }
}

static void put_length(struct draft *d, uint64_t n)
{
    if (d->length_count < MAX_LENGTHS) {
        d->lengths[d->length_count++] = d->len;
    }
    n = htole64(n);
    put(d, &n, sizeof(n));
}

/* Short, as keys and values of real jobs are; now and then at the limit of a key, or empty. */
static void put_string(struct draft *d)
{
    size_t n;
    switch (soak_below(d->rng, 64)) {
    case 0:
        n = 200 + soak_below(d->rng, 800);
        break;
    case 1:
        n = soak_below(d->rng, 256) == 0 ? 8192 : 0;
        break;
    case 2:
    case 3:
    case 4:
        n = 0;
        break;
    default:
        n = 1 + soak_below(d->rng, 20);
        break;
    }
    if (d->len + n > ROOM) {
        n = 0;
    }
    put_length(d, n);
    uint64_t text = soak_next(d->rng);
    for (size_t i = 0; i < n; i += sizeof(text)) {
        put(d, &text, n - i < sizeof(text) ? n - i : sizeof(text));
    }
}

static void put_request(struct draft *d)
{
    static const char *const fields[] = {
#define X(name, opcode, fields) [opcode] = (fields),
        C10D_QUERIES(X)
#undef X
    };
    uint8_t query = (uint8_t)soak_below(d->rng, C10D_QUERY_LAST + 1);
    put(d, &query, sizeof(query));
    for (const char *f = fields[query]; *f != '\0'; f++) {
        uint64_t number = soak_next(d->rng);
        size_t count = soak_below(d->rng, soak_below(d->rng, 16) == 0 ? 60 : 5);
        switch (*f) {
        case 'u':
            put(d, &number, sizeof(uint32_t));
            break;
        case 'i':
            put(d, &number, sizeof(uint64_t));
            break;
        case 'k':
        case 'v':
            put_string(d);
            break;
        default:
            put_length(d, count);
            for (count *= *f == 'P' ? 2 : 1; count > 0; count--) {
                put_string(d);
            }
            break;
        }
    }
}

/* ---- damage ---- */

/* A length field says something else: just beyond a limit, far beyond, or a little off. */
static void lie_about_a_length(struct draft *d)
{
    static const uint64_t lies[] = {
        8192,
        8193,
        8388608,
        8388609,
        131072,
        131073,
        UINT32_MAX,
        1ULL << 32,
        1ULL << 31,
        1ULL << 63,
        UINT64_MAX,
        INT64_MAX,
        UINT64_MAX - 8,
        UINT64_MAX - 7,
        67108864,
        1ULL << 61,
        1ULL << 60,
        1,
        0,
        256,
    };
    if (d->length_count == 0) {
        return;
    }
    uint8_t *field = d->data + d->lengths[soak_below(d->rng, d->length_count)];
    uint64_t n;
    memcpy(&n, field, sizeof(n));
    n = le64toh(n);
    n = soak_below(d->rng, 2) == 0 ? lies[soak_below(d->rng, MU_COUNT(lies))]
                                   : n + soak_below(d->rng, 16) - 8;
    n = htole64(n);
    memcpy(field, &n, sizeof(n));
}

static void change_bytes(struct draft *d)
{
    for (size_t n = 1 + soak_below(d->rng, 4); n > 0; n--) {
        uint8_t *byte = d->data + soak_below(d->rng, d->len);
        if (soak_below(d->rng, 2) == 0) {
            *byte ^= (uint8_t)(1U << soak_below(d->rng, 8));
        } else {
            *byte = (uint8_t)soak_next(d->rng);
        }
    }
}

static void take_bytes_out(struct draft *d)
{
    size_t from = soak_below(d->rng, d->len);
    size_t n = 1 + soak_below(d->rng, 16);
    n = n < d->len - from ? n : d->len - from;
    memmove(d->data + from, d->data + from + n, d->len - from - n);
    d->len -= n;
}

static void put_bytes_in(struct draft *d)
{
    size_t at = soak_below(d->rng, d->len);
    size_t n = 1 + soak_below(d->rng, 16);
    memmove(d->data + at + n, d->data + at, d->len - at);
    for (size_t i = 0; i < n; i++) {
        d->data[at + i] = (uint8_t)soak_next(d->rng);
    }
    d->len += n;
}

/* A part of what is there again, over what is somewhere else. */
static void splice(struct draft *d)
{
    size_t from = soak_below(d->rng, d->len);
    size_t to = soak_below(d->rng, d->len);
    size_t n = 1 + soak_below(d->rng, d->len - (from > to ? from : to));
    memmove(d->data + to, d->data + from, n);
}

static void truncate_it(struct draft *d)
{
    d->len = 1 + soak_below(d->rng, d->len);
}

static void make_noise(struct draft *d)
{
    d->len = 2 + soak_below(d->rng, 64);
    for (size_t i = 0; i < d->len; i++) {
        d->data[i] = (uint8_t)soak_next(d->rng);
    }
    d->data[1] %= C10D_QUERY_LAST + 2; /* else hardly one would pass the first byte */
}

size_t soak_make(struct soak_rng *r, uint8_t *data)
{
    static void (*const damages[])(struct draft *) = {
        lie_about_a_length, lie_about_a_length, change_bytes, change_bytes, truncate_it,
        truncate_it,        take_bytes_out,     put_bytes_in, splice,
    };
    struct draft d = {.rng = r, .data = data, .len = 1};
    data[0] = (uint8_t)soak_next(r); /* the size of the pieces */
    for (size_t n = 1 + soak_below(r, 3); n > 0 && d.len < ROOM; n--) {
        put_request(&d);
    }
    switch (soak_below(r, 8)) {
    case 0:
    case 1:
        break;
    case 2:
        if (soak_below(r, 4) == 0) {
            make_noise(&d);
        }
        break;
    default:
        for (size_t n = 1 + soak_below(r, 2); n > 0; n--) {
            damages[soak_below(r, MU_COUNT(damages))](&d);
        }
        break;
    }
    return d.len;
}
