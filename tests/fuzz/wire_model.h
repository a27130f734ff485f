/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as "Encoding", "Queries" and "Limits" of docs/PROTOCOL-c10d.md have them, read the plain
 * way: from the start, all of it, every time. What c10d_wire.c finds is compared with what this
 * finds; they share no code and no constant.
 *
 * Threading: any.
 */
#pragma once

#include "muster/buf.h"

#include <stdint.h>

enum {
    WIRE_MAX_BYTES = 64 * 1024, /* of what is parsed: more is not needed here */
    WIRE_MAX_STRINGS = WIRE_MAX_BYTES / 8,
};

enum wire_status { WIRE_WHOLE, WIRE_PART, WIRE_BAD };

/* Slices are borrowed from the bytes that were parsed. */
struct wire_request {
    size_t len; /* of the request, if it is whole; up to what makes it bad, if it is */
    int64_t number;
    uint64_t count; /* of a list, as sent */
    size_t strings; /* keys and values */
    uint8_t query;
    struct mu_slice string[WIRE_MAX_STRINGS]; /* in the order sent */
};

/* The request at the start of data[0..len), 0 < len <= WIRE_MAX_BYTES. */
enum wire_status wire_parse(const uint8_t *data, size_t len, struct wire_request *ret);
