/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations for the store and its model. Any bytes are steps (see fuzz_store.c),
 * so random ones will do; but a few operations are made rare or frequent, and a sequence has
 * favourites, or its clients would hardly meet. In half of the sequences these are large values
 * that are stored, read, replaced and taken.
 */
#include "tests/fuzz/soak.h"

#include <stdbool.h>

enum { SHORTEST = 60, LONGEST = 400 };

const uint64_t soak_default_inputs = 40000;
const char *const soak_step_name = "steps";

/*
 * Bytes that choices.c takes for a large value, for a key of its own, and for SET, COMPARE_SET,
 * GET, APPEND, MULTI_GET, QUEUE_PUSH and QUEUE_POP.
 */
static uint64_t large_favourites(struct soak_rng *r)
{
    static const uint8_t large[] = {229, 229, 230, 231, 231, 218, 237, 219, 223, 224};
    uint64_t bytes = 0;
    for (int i = 0; i < 8; i++) {
        bytes = bytes << 8 | (i < 6 ? large[soak_below(r, sizeof(large))] : soak_next(r) % 256);
    }
    return bytes;
}

size_t soak_make(struct soak_rng *r, uint8_t *data)
{
    size_t len = SHORTEST + soak_below(r, LONGEST - SHORTEST);
    uint64_t favourites = soak_next(r); /* eight bytes that come again and again */
    size_t share = soak_below(r, 4);    /* of eight */
    if (soak_below(r, 2) != 0) {
        favourites = large_favourites(r);
        share += 3;
    }
    for (size_t i = 0; i < len; i++) {
        uint64_t random = soak_next(r);
        size_t which = (random >> 8) % 8;
        bool is_favourite = (random >> 16) % 8 < share;
        data[i] = (uint8_t)(is_favourite ? favourites >> (8 * which) : random);
    }
    return len;
}
