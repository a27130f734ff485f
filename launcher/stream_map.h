/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which streams of which worker: what --redirects and --tee say, and the ranks of
 * --local-ranks-filter. Pure. Threading: any.
 */
#pragma once

#include "muster/err.h"
#include "muster/limits.h"

#include <stdbool.h>
#include <stdint.h>

/* Bits, as torchrun's digits mean them. */
enum stream_bits { STREAM_NONE = 0, STREAM_OUT = 1, STREAM_ERR = 2, STREAM_BOTH = 3 };

struct stream_map {
    uint8_t bits[MU_MAX_LOCAL_WORLD]; /* enum stream_bits by local rank */
    int32_t highest_named;            /* local rank; -1: none was named */
};

/*
 * One digit 0 to 3, or RANK:DIGIT[,RANK:DIGIT...], where the last of equal ranks counts and ranks
 * that are not named get 0. Unlike torchrun's, ranks may have more than one digit. MU_E_USAGE, with
 * a sentence that names `option` ("--tee").
 */
int stream_map_parse(const char *text, const char *option, struct stream_map *ret_map,
                     struct mu_err *err);

struct rank_set {
    bool has[MU_MAX_LOCAL_WORLD];
    bool is_everyone; /* nothing was named */
    int32_t highest_named;
};

/* RANK[,RANK...]; NULL and the empty text are everyone. MU_E_USAGE likewise. */
int rank_set_parse(const char *text, const char *option, struct rank_set *ret_set,
                   struct mu_err *err);

bool rank_set_has(const struct rank_set *set, uint32_t local_rank);
