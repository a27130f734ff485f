/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/tail_ring.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 4096 };

void tail_ring_fini(struct tail_ring *r)
{
    free(r->data);
    *r = (struct tail_ring){0};
}

/* Room for `len` more bytes, or all the room there may ever be. */
static void grow(struct tail_ring *r, size_t len)
{
    size_t cap = r->cap > 0 ? r->cap : FIRST_CAP;
    while (cap < MU_STDERR_TAIL && cap - r->len < len) {
        cap *= 2;
    }
    cap = cap < MU_STDERR_TAIL ? cap : MU_STDERR_TAIL;
    if (cap != r->cap) {
        r->data = mu_realloc(r->data, cap); /* it was not full, so it starts at 0 */
        r->cap = cap;
    }
}

void tail_ring_append(struct tail_ring *r, const char *data, size_t len)
{
    r->total += len;
    if (len > MU_STDERR_TAIL) {
        data += len - MU_STDERR_TAIL;
        len = MU_STDERR_TAIL;
    }
    if (r->cap - r->len < len && r->cap < MU_STDERR_TAIL) {
        grow(r, len);
    }
    while (len > 0) {
        size_t at = (r->start + r->len) % r->cap;
        size_t n = r->cap - at < len ? r->cap - at : len;
        memcpy(r->data + at, data, n);
        data += n;
        len -= n;
        size_t overwritten = r->len + n > r->cap ? r->len + n - r->cap : 0;
        r->len += n - overwritten;
        r->start = (r->start + overwritten) % r->cap;
    }
}

size_t tail_ring_copy(const struct tail_ring *r, char *buf, size_t size)
{
    size_t n = size < r->len ? size : r->len;
    size_t from = r->start + r->len - n;
    for (size_t done = 0; done < n;) {
        size_t at = (from + done) % r->cap;
        size_t part = r->cap - at < n - done ? r->cap - at : n - done;
        memcpy(buf + done, r->data + at, part);
        done += part;
    }
    return n;
}
