/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request decoder. The input's first byte chooses the pieces the rest arrives in; decoding in
 * pieces must find exactly what decoding in one go finds.
 */
#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(struct c10d_request req, size_t used, const uint8_t *data, size_t size)
{
    const char *start = (const char *)data;
    const struct mu_slice parts[] = {req.key, req.value, req.second, req.list};
    MU_REQUIRE(used >= 1 && used <= size);
    for (size_t i = 0; i < MU_COUNT(parts); i++) {
        MU_REQUIRE(parts[i].ptr == NULL ||
                   (parts[i].ptr >= start && parts[i].ptr + parts[i].len <= start + used));
    }
    MU_REQUIRE(req.key.len <= MU_STORE_MAX_KEY);
    MU_REQUIRE(req.value.len <= MU_STORE_MAX_VALUE && req.second.len <= MU_STORE_MAX_VALUE);
    MU_REQUIRE(req.count <= MU_STORE_MAX_KEYS_PER_QUERY);
    uint32_t strings = req.query == C10D_MULTI_SET ? 2 * req.count : req.count;
    for (; strings > 0; strings--) {
        struct mu_slice s = c10d_take_str(&req.list);
        char text[32];
        c10d_show(s, text, sizeof(text));
        MU_REQUIRE(strlen(text) < sizeof(text));
    }
    MU_REQUIRE(req.list.len == 0);
}

/* Decode what comes in pieces of `piece` bytes, from memory that ends where the piece ends. */
static enum c10d_status decode_in_pieces(const uint8_t *data, size_t size, size_t piece,
                                         size_t *ret_used)
{
    struct c10d_scan scan = {0};
    struct mu_err err = MU_ERR_INIT;
    for (size_t len = piece;; len += piece) {
        len = len < size ? len : size;
        if (len < scan.need && len < size) {
            continue;
        }
        uint8_t *part = mu_alloc(len);
        memcpy(part, data, len);
        struct c10d_request req;
        enum c10d_status status = c10d_decode(&scan, part, len, &req, ret_used, &err);
        if (status == C10D_DONE) {
            check_request(req, *ret_used, part, len);
        }
        free(part);
        MU_REQUIRE(status != C10D_MORE || scan.need > len);
        MU_REQUIRE((status == C10D_ERROR) == (err.code != MU_E_NONE));
        if (status != C10D_MORE || len == size) {
            return status;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t piece = 1 + data[0] % 32U;
    data++;
    size--;
    while (size > 0) {
        size_t used = 0;
        size_t used_in_pieces = 0;
        enum c10d_status status = decode_in_pieces(data, size, size, &used);
        MU_REQUIRE(decode_in_pieces(data, size, piece, &used_in_pieces) == status);
        if (status != C10D_DONE) {
            break;
        }
        MU_REQUIRE(used == used_in_pieces);
        data += used;
        size -= used;
    }
    return 0;
}
