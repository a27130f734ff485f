/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client of the store engine is to be sent, as one run of bytes: for tests that have no
 * connection to send it on.
 */
#pragma once

#include "muster/mem.h"
#include "rendezvous/store.h"

/* The replies there are, owned by the caller; the client has none then. */
static inline struct mu_buf store_replies(struct store_client *c)
{
    struct mu_buf all = {0};
    mu_autofree struct mu_slice *slices = mu_calloc(store_out_count(&c->out), sizeof(*slices));
    size_t count = store_out_slices(&c->out, 0, slices);
    for (size_t i = 0; i < count; i++) {
        mu_buf_append(&all, slices[i].ptr, slices[i].len);
    }
    MU_REQUIRE(all.len == store_out_len(&c->out));
    store_out_fini(&c->out);
    return all;
}
