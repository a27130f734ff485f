/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of exit codes, as users write them: "2,64-78".
 * Threading: any.
 */
#pragma once

#include "muster/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Codes 0 to 255. */
enum { EXIT_CODES_BYTES = 32 };
struct exit_codes {
    uint8_t bits[EXIT_CODES_BYTES]; /* code 8 * i + b: bit b of byte i */
};

static inline bool exit_codes_has(const struct exit_codes *set, int code)
{
    return code >= 0 && code < 8 * EXIT_CODES_BYTES &&
           (set->bits[code / 8] & 1U << (unsigned)(code % 8)) != 0;
}

/*
 * Codes and ranges of them from 1 to 255, separated by commas; an empty text is no code. 0 is a
 * success and no member of any set. MU_E_USAGE, with what is allowed, if the text is something
 * else.
 */
int exit_codes_parse(const char *text, struct exit_codes *ret_set, struct mu_err *err);

/* The lowest code that both have; -1: there is none. */
int exit_codes_common(const struct exit_codes *a, const struct exit_codes *b);
