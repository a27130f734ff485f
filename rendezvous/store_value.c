/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/store_value.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

struct store_value *store_value_new(struct mu_slice bytes, size_t cap)
{
    cap = cap > bytes.len ? cap : bytes.len;
    struct store_value *v = mu_realloc(NULL, sizeof(*v) + cap);
    *v = (struct store_value){.len = bytes.len, .cap = cap, .refs = 1};
    if (bytes.len > 0) {
        memcpy(v->data, bytes.ptr, bytes.len);
    }
    return v;
}

struct store_value *store_value_ref(struct store_value *v)
{
    v->refs++;
    return v;
}

bool store_value_is_shared(const struct store_value *v)
{
    return v->refs > 1;
}

static uint64_t size_of(const struct store_value *v)
{
    return sizeof(*v) + v->len; /* which stays as it is while it is shared */
}

static void forget(struct store_unread *u, const struct store_value *v)
{
    u->bytes -= size_of(v);
    u->values--;
    if (u->is_closed && u->values == 0) {
        free(u);
    }
}

void store_value_unref(struct store_value *v)
{
    if (v == NULL || --v->refs > 0) {
        return;
    }
    if (v->unread != NULL) {
        forget(v->unread, v);
    }
    free(v);
}

void store_value_take_out(struct store_value *v, struct store_unread *unread)
{
    if (v != NULL && store_value_is_shared(v)) {
        v->unread = unread;
        unread->bytes += size_of(v);
        unread->values++;
    }
    store_value_unref(v);
}

struct store_unread *store_unread_new(void)
{
    return mu_alloc(sizeof(struct store_unread));
}

void store_unread_close(struct store_unread *u)
{
    u->is_closed = true;
    if (u->values == 0) {
        free(u);
    }
}

struct mu_slice store_value_bytes(const struct store_value *v)
{
    return v != NULL ? (struct mu_slice){.ptr = v->data, .len = v->len} : (struct mu_slice){0};
}
