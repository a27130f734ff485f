/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time, for those who have no loop to ask and for what people read. Threading: any; also after
 * a fork.
 */
#pragma once

#include <stdint.h>

/* Milliseconds of a clock that only goes forward; where it began means nothing. */
int64_t mu_clock_ms(void);

/* Milliseconds since 1970. Somebody may set it: for what is shown, and for times others name. */
int64_t mu_clock_unix_ms(void);
