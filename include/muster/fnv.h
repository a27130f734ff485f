/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FNV-1a, 64 bits: tells whether bytes are the same where nobody would forge them. Threading: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MU_FNV_INIT UINT64_C(14695981039346656037)

/* The hash of what gave `hash` followed by `len` more bytes. */
static inline uint64_t mu_fnv(uint64_t hash, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}
