/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations for the store and its model. Any bytes are steps (see fuzz_store.c),
 * so random ones will do; but a few operations are made rare or frequent, and a sequence has
 * favourites, or its clients would hardly meet.
 */
#include "tests/fuzz/soak.h"

#include <stdbool.h>

enum { SHORTEST = 60, LONGEST = 400 };

const uint64_t soak_default_inputs = 40000;
const char *const soak_step_name = "steps";

size_t soak_make(struct soak_rng *r, uint8_t *data)
{
    size_t len = SHORTEST + soak_below(r, LONGEST - SHORTEST);
    uint64_t favourites = soak_next(r); /* eight bytes that come again and again */
    size_t share = soak_below(r, 8);    /* of eight */
    for (size_t i = 0; i < len; i++) {
        uint64_t random = soak_next(r);
        size_t which = (random >> 8) % 8;
        bool is_favourite = (random >> 16) % 8 < share / 2;
        data[i] = (uint8_t)(is_favourite ? favourites >> (8 * which) : random);
    }
    return len;
}
