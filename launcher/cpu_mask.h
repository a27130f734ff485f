/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of CPUs, laid out as sched_setaffinity() wants them, and their text in /sys: "0-2,4".
 * A plain value: zero-initialised is the empty set. Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* The most that Linux is built for; a CPU beyond it is not seen. */
enum { CPU_MASK_BITS = 8192, CPU_MASK_WORD_BITS = 8 * sizeof(unsigned long) };

struct cpu_mask {
    unsigned long bits[CPU_MASK_BITS / CPU_MASK_WORD_BITS];
};

void cpu_mask_add(struct cpu_mask *mask, unsigned cpu); /* no-op beyond CPU_MASK_BITS */
bool cpu_mask_has(const struct cpu_mask *mask, unsigned cpu);
unsigned cpu_mask_count(const struct cpu_mask *mask);
bool cpu_mask_eq(const struct cpu_mask *a, const struct cpu_mask *b);

/* The first CPU at `from` or after it; -1 if there is none. */
int cpu_mask_next(const struct cpu_mask *mask, unsigned from);

void cpu_mask_unite(struct cpu_mask *mask, const struct cpu_mask *other);
void cpu_mask_intersect(struct cpu_mask *mask, const struct cpu_mask *other);

/* Read "0-2,4"; the empty text is the empty set. -1 if it is not of that form. */
int cpu_mask_parse(const char *text, struct cpu_mask *ret_mask);

/* Append the same form, in ascending order. */
void cpu_mask_format(const struct cpu_mask *mask, struct mu_buf *text);
