/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/out_check.h"

#include "muster/mem.h"

#include <string.h>

/* Pieces are large values, in order, each after its length. */
static void check_pieces(const struct store_out *o)
{
    size_t shared = 0;
    size_t at = 0;
    MU_REQUIRE(o->piece_count <= o->piece_cap);
    for (uint32_t i = 0; i < o->piece_count; i++) {
        const struct store_piece *p = &o->pieces[i];
        MU_REQUIRE(p->at >= at + sizeof(uint64_t) && p->at <= o->bytes.len);
        at = p->at;
        MU_REQUIRE(p->value->refs > 0 && p->value->len <= p->value->cap);
        MU_REQUIRE(p->value->len >= STORE_SHARE_FROM);
        struct mu_reader r = mu_reader_of(o->bytes.data + at - sizeof(uint64_t), sizeof(uint64_t));
        MU_REQUIRE(mu_read_u64(&r) == p->value->len);
        shared += p->value->len;
    }
    MU_REQUIRE(o->shared_len == shared);
}

/* Somewhere, or around the beginning or end of a piece. */
static size_t some_place(const struct store_out *o, uint64_t random)
{
    size_t len = store_out_len(o);
    if (random % 2 == 0) {
        return (size_t)(random / 2 % (len + 1));
    }
    uint32_t piece = (uint32_t)(random / 32 % o->piece_count);
    size_t at = o->pieces[piece].at;
    for (uint32_t i = 0; i < piece; i++) {
        at += o->pieces[i].value->len;
    }
    at += random / 2 % 2 != 0 ? o->pieces[piece].value->len : 0;
    at += random / 4 % 3;
    return at - 1 < len ? at - 1 : len;
}

/* The slices from `skip` on, put together in `all`. */
static void flatten(const struct store_out *o, size_t skip, struct mu_buf *all)
{
    mu_autofree struct mu_slice *slices = mu_calloc(store_out_count(o), sizeof(*slices));
    size_t count = store_out_slices(o, skip, slices);
    MU_REQUIRE(count <= store_out_count(o));
    all->len = 0;
    for (size_t i = 0; i < count; i++) {
        MU_REQUIRE(slices[i].len > 0);
        mu_buf_append(all, slices[i].ptr, slices[i].len);
    }
    MU_REQUIRE(all->len == store_out_len(o) - skip);
}

struct mu_slice out_check_bytes(const struct store_out *o, uint64_t random)
{
    static struct mu_buf all;
    static struct mu_buf rest;
    if (o->piece_count == 0) {
        MU_REQUIRE(o->shared_len == 0);
        return (struct mu_slice){.ptr = (const char *)o->bytes.data, .len = o->bytes.len};
    }
    check_pieces(o);
    flatten(o, 0, &all);
    size_t skip = some_place(o, random);
    flatten(o, skip, &rest);
    MU_REQUIRE(rest.len == 0 || memcmp(all.data + skip, rest.data, rest.len) == 0);
    return (struct mu_slice){.ptr = (const char *)all.data, .len = all.len};
}
