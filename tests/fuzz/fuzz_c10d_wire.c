/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request decoder. The input's first byte chooses the pieces the rest arrives in; decoding in
 * pieces must find exactly what decoding in one go finds, and both what the model finds.
 */
#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/c10d_wire.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/wire_model.h"

uint64_t fuzz_steps;

static struct wire_request expected;

/* A list's strings; those of `expected` follow its other fields, of which a list query has none. */
static void check_list(struct mu_slice list)
{
    for (size_t i = 0; i < expected.strings; i++) {
        struct mu_slice s = c10d_take_str(&list);
        MU_REQUIRE(mu_slice_eq(s, expected.string[i]));
    }
    MU_REQUIRE(list.len == 0);
}

static void check_shown(struct mu_slice s)
{
    char text[32];
    c10d_show(s, text, sizeof(text));
    MU_REQUIRE(strlen(text) < sizeof(text));
}

/* The request lies in data[0..used) and is what the model says. */
static void check_request(const struct c10d_request *req, const uint8_t *data, size_t used)
{
    const char *start = (const char *)data;
    const struct mu_slice parts[] = {req->key, req->value, req->second};
    MU_REQUIRE(used == expected.len && req->query == expected.query);
    MU_REQUIRE(req->number == expected.number && req->count == expected.count);
    if (req->list.ptr != NULL) {
        MU_REQUIRE(req->list.ptr > start && req->list.ptr + req->list.len <= start + used);
        check_list(req->list);
        check_shown(expected.strings > 0 ? expected.string[0] : req->list);
        return;
    }
    for (size_t i = 0; i < MU_COUNT(parts); i++) {
        MU_REQUIRE((parts[i].ptr != NULL) == (i < expected.strings));
        if (parts[i].ptr != NULL) {
            MU_REQUIRE(parts[i].ptr > start && parts[i].ptr + parts[i].len <= start + used);
            MU_REQUIRE(mu_slice_eq(parts[i], expected.string[i]));
        }
    }
    check_shown(req->key);
}

/* Allocated once: what is decoded is put at its end, where reading on is found by a sanitizer. */
static uint8_t *end_of_memory(void)
{
    static uint8_t *memory;
    if (memory == NULL) {
        memory = mu_alloc(WIRE_MAX_BYTES);
    }
    return memory + WIRE_MAX_BYTES;
}

/* Decode what comes in pieces of `piece` bytes. The status, and the request's length if it is
 * whole.
 */
static enum c10d_status decode_in_pieces(const uint8_t *data, size_t size, size_t piece,
                                         bool is_bad, size_t *ret_used)
{
    struct c10d_scan scan = {0};
    struct mu_err err;
    err.code = MU_E_NONE;
    for (size_t len = piece;; len += piece) {
        len = len < size ? len : size;
        if (len < scan.need && len < size) {
            continue;
        }
        uint8_t *part = end_of_memory() - len;
        memcpy(part, data, len);
        struct c10d_request req;
        size_t needed = scan.need;
        enum c10d_status status = c10d_decode(&scan, part, len, &req, ret_used, &err);
        MU_REQUIRE((status == C10D_ERROR) == (err.code != MU_E_NONE));
        if (status == C10D_DONE) {
            MU_REQUIRE(needed <= *ret_used);
            MU_REQUIRE(scan.need == 0 && scan.pos == 0 && scan.left == 0);
            check_request(&req, part, *ret_used);
            return status;
        }
        MU_REQUIRE(status != C10D_MORE || scan.need > len);
        /* What is beyond a limit is to be seen where the model sees it. */
        MU_REQUIRE(status != C10D_MORE || !is_bad || scan.need <= expected.len);
        if (status == C10D_ERROR || len == size) {
            return status;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum c10d_status as_model_says[] = {
        [WIRE_WHOLE] = C10D_DONE,
        [WIRE_PART] = C10D_MORE,
        [WIRE_BAD] = C10D_ERROR,
    };
    if (size < 2 || size > WIRE_MAX_BYTES) {
        return 0;
    }
    size_t piece = 1 + data[0] % 32U;
    data++;
    size--;
    while (size > 0) {
        size_t used = 0;
        enum c10d_status status = as_model_says[wire_parse(data, size, &expected)];
        bool is_bad = status == C10D_ERROR;
        MU_REQUIRE(decode_in_pieces(data, size, size, is_bad, &used) == status);
        MU_REQUIRE(decode_in_pieces(data, size, piece, is_bad, &used) == status);
        fuzz_steps++;
        if (status != C10D_DONE) {
            break;
        }
        data += used;
        size -= used;
    }
    return 0;
}
