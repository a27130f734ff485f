/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_blame.h"

#include "muster/mem.h"

#include <string.h>

struct tally {
    size_t tried;
    size_t fine;
    size_t open; /* bad, and nobody is blamed yet */
};

static void tally_add(struct tally *t, uint8_t cell)
{
    t->tried += cell != CHECK_BLAME_UNTRIED ? 1 : 0;
    t->fine += cell == CHECK_BLAME_FINE ? 1 : 0;
    t->open += cell == CHECK_BLAME_BAD ? 1 : 0;
}

static void tally_all(const uint8_t *cells, size_t count, struct tally *in, struct tally *out)
{
    memset(in, 0, count * sizeof(*in));
    memset(out, 0, count * sizeof(*out));
    for (size_t from = 0; from < count; from++) {
        for (size_t to = 0; to < count; to++) {
            tally_add(&out[from], cells[from * count + to]);
            tally_add(&in[to], cells[from * count + to]);
        }
    }
}

/* Is this side of a node all bad, by the word of two others, and does it explain more? */
static void consider(struct check_blame *best, size_t *best_open, enum check_blame_side side,
                     size_t node, struct tally t)
{
    size_t least = side == CHECK_BLAME_NODE ? 3 : 2; /* 2 would be a single pair */
    if (t.fine == 0 && t.tried >= least && t.open >= 2 && t.open > *best_open) {
        *best = (struct check_blame){.side = side, .node = node, .tried = t.tried};
        *best_open = t.open;
    }
}

static void explain(uint8_t *cells, size_t count, const struct check_blame *blame)
{
    for (size_t other = 0; other < count; other++) {
        uint8_t *in = &cells[other * count + blame->node];
        uint8_t *out = &cells[blame->node * count + other];
        if (*in == CHECK_BLAME_BAD && blame->side != CHECK_BLAME_OUT) {
            *in = CHECK_BLAME_EXPLAINED;
        }
        if (*out == CHECK_BLAME_BAD && blame->side != CHECK_BLAME_IN) {
            *out = CHECK_BLAME_EXPLAINED;
        }
    }
}

size_t check_blame_find(uint8_t *cells, size_t count, bool by_direction,
                        struct check_blame blames[CHECK_BLAME_MAX])
{
    mu_autofree struct tally *in = mu_calloc(count, sizeof(*in));
    mu_autofree struct tally *out = mu_calloc(count, sizeof(*out));
    size_t found = 0;
    while (found < CHECK_BLAME_MAX) {
        struct check_blame best = {0};
        size_t best_open = 0;
        tally_all(cells, count, in, out);
        /* Of equals the first: a node that hears nobody is more common than one nobody hears. */
        for (size_t i = 0; i < count; i++) {
            struct tally both = {.tried = in[i].tried + out[i].tried,
                                 .fine = in[i].fine + out[i].fine,
                                 .open = in[i].open + out[i].open};
            consider(&best, &best_open, CHECK_BLAME_NODE, i, both);
        }
        for (size_t i = 0; i < count && by_direction; i++) {
            consider(&best, &best_open, CHECK_BLAME_IN, i, in[i]);
        }
        for (size_t i = 0; i < count && by_direction; i++) {
            consider(&best, &best_open, CHECK_BLAME_OUT, i, out[i]);
        }
        if (best_open == 0) {
            break;
        }
        explain(cells, count, &best);
        blames[found++] = best;
    }
    return found;
}
