/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes explain what is wrong between pairs of nodes: "nobody can reach node 7" instead of a
 * line for each that tried. Pure. Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHECK_BLAME_MAX = 32 }; /* nodes that are named; beyond that it is pairs */

enum check_blame_cell {
    CHECK_BLAME_UNTRIED,
    CHECK_BLAME_FINE,
    CHECK_BLAME_BAD,
    CHECK_BLAME_EXPLAINED, /* bad, and a node is blamed for it */
};

enum check_blame_side {
    CHECK_BLAME_NODE, /* all that was tried to it and from it is bad */
    CHECK_BLAME_IN,   /* all that was tried to it */
    CHECK_BLAME_OUT,  /* all that was tried from it */
};

struct check_blame {
    enum check_blame_side side;
    size_t node;
    size_t tried;
};

/*
 * Find the fewest nodes that explain bad cells of `cells` (count * count, [from * count + to]),
 * those first that explain most; only where at least two other nodes say so. What they explain
 * becomes CHECK_BLAME_EXPLAINED. `by_direction`: one direction of a node alone may be bad, too.
 * Returns how many, at most CHECK_BLAME_MAX.
 */
size_t check_blame_find(uint8_t *cells, size_t count, bool by_direction,
                        struct check_blame blames[CHECK_BLAME_MAX]);
