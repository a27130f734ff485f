/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict numbers from text: the whole text must be the number, and it must be within bounds. And
 * times as text.
 * Threading: any.
 */
#pragma once

#include "muster/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Decimal integer in [min, max]. On failure `err` says what was expected (MU_E_USAGE). */
int mu_parse_int(const char *text, int64_t min, int64_t max, int64_t *ret_value,
                 struct mu_err *err);

/*
 * A time span: a decimal number with an optional unit ms, s, m, h or d; seconds without one.
 * "5", "0.5", "500ms", "10m". Gives milliseconds, at most 10 years.
 */
int mu_parse_duration(const char *text, int64_t *ret_ms, struct mu_err *err);

/* A number of bytes: a whole number with an optional unit K, M, G or T (of 1024). At most 2^60. */
int mu_parse_size(const char *text, int64_t *ret_bytes, struct mu_err *err);

enum { MU_SIZE_TEXT = 24 };

/* The shortest text that mu_parse_size() reads as this number: "64G", "1000". */
void mu_format_size(uint64_t bytes, char text[MU_SIZE_TEXT]);

/* "N" or "MIN:MAX" with 1 <= MIN <= MAX <= limit. */
int mu_parse_range(const char *text, int64_t limit, int64_t *ret_min, int64_t *ret_max,
                   struct mu_err *err);

/* The number in the line "NAME NUMBER" of a text of such lines; false if there is none. */
bool mu_find_number(const char *text, const char *name, uint64_t *ret_value);

enum { MU_TIME_SIZE = 32 };

/* "2026-11-24T12:01:12Z" of milliseconds since 1970; false if that is no time, 0 included. */
bool mu_time_format(int64_t unix_ms, char text[MU_TIME_SIZE]);
