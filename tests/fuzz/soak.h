/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A soak program: very many inputs for one fuzz target, made from a seed. soak_NAME.c makes them,
 * soak_main.c counts them and pushes them through fuzz_NAME.c.
 *
 * Threading: one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SOAK_MAX_INPUT = 64 * 1024 };

/* Random numbers: splitmix64, of which any start is a good one. */
struct soak_rng {
    uint64_t state;
};

static inline uint64_t soak_next(struct soak_rng *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/* One of 0 .. n-1; n <= 2^32. */
static inline size_t soak_below(struct soak_rng *r, size_t n)
{
    return (size_t)(((soak_next(r) >> 32) * n) >> 32);
}

/* Provided by soak_NAME.c: the inputs of a run that is told no number, and what a step is. */
extern const uint64_t soak_default_inputs;
extern const char *const soak_step_name;

/* Make one input in data[0..SOAK_MAX_INPUT), of nothing but `r`. Returns its length. */
size_t soak_make(struct soak_rng *r, uint8_t *data);
