/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cpu_mask.h"

#include "muster/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void cpu_mask_add(struct cpu_mask *mask, unsigned cpu)
{
    if (cpu < CPU_MASK_BITS) {
        mask->bits[cpu / CPU_MASK_WORD_BITS] |= 1UL << (cpu % CPU_MASK_WORD_BITS);
    }
}

bool cpu_mask_has(const struct cpu_mask *mask, unsigned cpu)
{
    return cpu < CPU_MASK_BITS &&
           (mask->bits[cpu / CPU_MASK_WORD_BITS] >> (cpu % CPU_MASK_WORD_BITS) & 1) != 0;
}

unsigned cpu_mask_count(const struct cpu_mask *mask)
{
    unsigned count = 0;
    for (size_t i = 0; i < MU_COUNT(mask->bits); i++) {
        count += (unsigned)__builtin_popcountl(mask->bits[i]);
    }
    return count;
}

bool cpu_mask_eq(const struct cpu_mask *a, const struct cpu_mask *b)
{
    return memcmp(a->bits, b->bits, sizeof(a->bits)) == 0;
}

int cpu_mask_next(const struct cpu_mask *mask, unsigned from)
{
    for (unsigned cpu = from; cpu < CPU_MASK_BITS;) {
        unsigned long rest = mask->bits[cpu / CPU_MASK_WORD_BITS] >> (cpu % CPU_MASK_WORD_BITS);
        if (rest != 0) {
            return (int)cpu + __builtin_ctzl(rest);
        }
        cpu = (cpu / CPU_MASK_WORD_BITS + 1) * CPU_MASK_WORD_BITS;
    }
    return -1;
}

void cpu_mask_unite(struct cpu_mask *mask, const struct cpu_mask *other)
{
    for (size_t i = 0; i < MU_COUNT(mask->bits); i++) {
        mask->bits[i] |= other->bits[i];
    }
}

void cpu_mask_intersect(struct cpu_mask *mask, const struct cpu_mask *other)
{
    for (size_t i = 0; i < MU_COUNT(mask->bits); i++) {
        mask->bits[i] &= other->bits[i];
    }
}

/* A number at *text, which is moved behind it. */
static int read_cpu(const char **text, unsigned *ret_cpu)
{
    if (!isdigit((unsigned char)**text)) {
        return -1;
    }
    char *end;
    unsigned long value = strtoul(*text, &end, 10);
    *text = end;
    *ret_cpu = value < CPU_MASK_BITS ? (unsigned)value : CPU_MASK_BITS;
    return 0;
}

int cpu_mask_parse(const char *text, struct cpu_mask *ret_mask)
{
    struct cpu_mask mask = {0};
    while (*text != '\0') {
        unsigned first;
        if (read_cpu(&text, &first) != 0) {
            return -1;
        }
        unsigned last = first;
        if (*text == '-') {
            text++;
            if (read_cpu(&text, &last) != 0) {
                return -1;
            }
        }
        for (unsigned cpu = first; cpu <= last && cpu < CPU_MASK_BITS; cpu++) {
            cpu_mask_add(&mask, cpu);
        }
        if (*text == ',') {
            text++;
        } else if (*text != '\0') {
            return -1;
        }
    }
    *ret_mask = mask;
    return 0;
}

void cpu_mask_format(const struct cpu_mask *mask, struct mu_buf *text)
{
    const char *comma = "";
    for (int first = cpu_mask_next(mask, 0); first >= 0;) {
        int last = first;
        while (cpu_mask_has(mask, (unsigned)last + 1)) {
            last++;
        }
        if (first == last) {
            mu_buf_printf(text, "%s%d", comma, first);
        } else {
            mu_buf_printf(text, "%s%d-%d", comma, first, last);
        }
        comma = ",";
        first = cpu_mask_next(mask, (unsigned)last + 1);
    }
}
