/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters: the text that ADD and BARRIER keep as a key's value. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdint.h>

enum { STORE_COUNTER_SIZE = 20 }; /* characters of INT64_MIN */

/*
 * As strtoll() in base 10 reads it: leading white space, a sign, digits up to the first other byte.
 * -1 if there is no digit or the number is out of range.
 */
int store_counter_parse(struct mu_slice text, int64_t *ret_number);

/* In decimal, without NUL; the result lies in `text`. */
struct mu_slice store_counter_format(int64_t number, char text[static STORE_COUNTER_SIZE]);
