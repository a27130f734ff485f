/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/store_costs.h"

#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

static uint64_t bytes_after(struct store_client *c, struct mu_slice request)
{
    MU_REQUIRE(store_client_feed(c, request.ptr, request.len, NULL) == 0);
    return store_get_stats(c->store).bytes;
}

/* A large value is read, and then replaced. */
static uint64_t learn_unread(struct store_client *c)
{
    static const char zeros[STORE_SHARE_FROM];
    struct mu_buf b = {0};
    mu_buf_append_u8(&b, C10D_SET);
    c10d_put_str(&b, mu_slice_of("u"));
    c10d_put_str(&b, (struct mu_slice){.ptr = zeros, .len = sizeof(zeros)});
    mu_buf_append_u8(&b, C10D_GET);
    c10d_put_str(&b, mu_slice_of("u"));
    mu_buf_append_u8(&b, C10D_SET);
    c10d_put_str(&b, mu_slice_of("u"));
    c10d_put_str(&b, mu_slice_of(""));
    bytes_after(c, (struct mu_slice){.ptr = (const char *)b.data, .len = b.len});
    mu_buf_fini(&b);
    return store_get_stats(c->store).unread - sizeof(zeros);
}

struct store_model_costs store_costs_learn(void)
{
#define REQUEST(bytes) ((struct mu_slice){.ptr = (bytes), .len = sizeof(bytes) - 1})
#define ONE            "\1\0\0\0\0\0\0\0"
#define EMPTY          "\0\0\0\0\0\0\0\0"
    struct store *s = store_new(0);
    struct store_client c;
    store_client_init(&c, s);
    bytes_after(&c, REQUEST("\0\xce\xf7\x85\x3c"));
    struct store_model_costs costs;
    costs.name = bytes_after(&c, REQUEST("\x01" EMPTY EMPTY));
    costs.item = bytes_after(&c, REQUEST("\x0e" EMPTY EMPTY)) - costs.name;
    uint64_t before = costs.name + costs.item;
    costs.wait = bytes_after(&c, REQUEST("\x06" ONE ONE "k")) - before - costs.name - 1;
    costs.unread = learn_unread(&c);
    MU_REQUIRE(costs.name < 256 && costs.item < 64 && costs.wait > 0 && costs.wait < 64);
    MU_REQUIRE(costs.unread < 64);
    store_client_fini(&c);
    store_free(s);
    return costs;
#undef REQUEST
#undef ONE
#undef EMPTY
}
