/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_out.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

#include <stdlib.h>

enum { KEPT_BYTES = 1024, FIRST_PIECES = 2 };

static void drop_pieces(struct store_out *o)
{
    for (uint32_t i = 0; i < o->piece_count; i++) {
        store_value_unref(o->pieces[i].value);
    }
    free(o->pieces);
    o->pieces = NULL;
    o->piece_count = 0;
    o->piece_cap = 0;
    o->shared_len = 0;
}

void store_out_fini(struct store_out *o)
{
    drop_pieces(o);
    mu_buf_fini(&o->bytes);
}

void store_out_clear(struct store_out *o, struct mu_buf *spare)
{
    if (o->pieces != NULL) {
        drop_pieces(o);
    }
    if (spare->data == NULL && o->bytes.cap <= KEPT_BYTES) {
        *spare = o->bytes;
        spare->len = 0;
        o->bytes = (struct mu_buf){0};
    } else {
        mu_buf_fini(&o->bytes);
    }
}

void store_out_put_value(struct store_out *o, struct store_value *v)
{
    if (v == NULL || v->len < STORE_SHARE_FROM) {
        c10d_put_str(&o->bytes, store_value_bytes(v));
        return;
    }
    mu_buf_append_u64(&o->bytes, v->len);
    if (o->piece_count == o->piece_cap) {
        o->piece_cap = o->piece_cap > 0 ? 2 * o->piece_cap : FIRST_PIECES;
        o->pieces = mu_realloc(o->pieces, o->piece_cap * sizeof(*o->pieces));
    }
    o->pieces[o->piece_count++] =
        (struct store_piece){.at = o->bytes.len, .value = store_value_ref(v)};
    o->shared_len += v->len;
}

size_t store_out_len(const struct store_out *o)
{
    return o->bytes.len + o->shared_len;
}

size_t store_out_own(const struct store_out *o)
{
    return o->bytes.len + o->piece_count * sizeof(*o->pieces);
}

size_t store_out_count(const struct store_out *o)
{
    return 2 * (size_t)o->piece_count + 1;
}

/* Append what is left of a slice when `*skip` bytes are taken off its beginning. */
static size_t put(struct mu_slice *slices, size_t count, struct mu_slice s, size_t *skip)
{
    size_t cut = *skip < s.len ? *skip : s.len;
    *skip -= cut;
    if (s.len > cut) {
        slices[count++] = (struct mu_slice){.ptr = s.ptr + cut, .len = s.len - cut};
    }
    return count;
}

size_t store_out_slices(const struct store_out *o, size_t skip, struct mu_slice *slices)
{
    size_t count = 0;
    size_t at = 0;
    const char *bytes = (const char *)o->bytes.data;
    for (uint32_t i = 0; i < o->piece_count; i++) {
        const struct store_piece *p = &o->pieces[i];
        struct mu_slice before = {.ptr = bytes + at, .len = p->at - at};
        count = put(slices, count, before, &skip);
        count = put(slices, count, store_value_bytes(p->value), &skip);
        at = p->at;
    }
    struct mu_slice rest = {.ptr = at > 0 ? bytes + at : bytes, .len = o->bytes.len - at};
    return put(slices, count, rest, &skip);
}
