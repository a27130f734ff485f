/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_links.h"

#include "muster/mem.h"

#include <stdlib.h>

enum { NAMES_SHOWN = 4 };

void check_links_init(struct check_links *l, size_t count)
{
    *l = (struct check_links){.count = count};
    l->nodes = mu_calloc(count, sizeof(*l->nodes));
    l->links = mu_calloc(count * count, sizeof(*l->links));
}

void check_links_fini(struct check_links *l)
{
    free(l->nodes);
    free(l->links);
}

struct check_link *check_links_at(const struct check_links *l, size_t from, size_t to)
{
    return &l->links[from * l->count + to];
}

size_t check_links_plan(size_t rank, size_t count, uint32_t *peers)
{
    size_t n = 0;
    bool is_all = rank == 0 || count <= CHECK_LINKS_ALL_PAIRS;
    for (size_t step = 1; step < count; step = is_all ? step + 1 : 2 * step) {
        peers[n++] = (uint32_t)((rank + step) % count);
    }
    for (size_t i = 0; i < n && !is_all; i++) {
        is_all = peers[i] == 0;
    }
    if (!is_all) {
        peers[n++] = 0;
    }
    return n;
}

const char *check_link_state_name(enum check_link_state state)
{
    static const char *const names[CHECK_LINK_STATES] = {"untried",   "ok",       "refused",
                                                         "no answer", "no route", "reset"};
    return names[state];
}

void check_links_append_names(const struct check_links *l, const uint32_t *ranks, size_t count,
                              struct mu_buf *text)
{
    size_t shown = count <= NAMES_SHOWN + 1 ? count : NAMES_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        bool is_last = i + 1 == count && i > 0;
        mu_buf_printf(text, "%s%s", is_last ? " and " : i > 0 ? ", " : "", l->nodes[ranks[i]].name);
    }
    if (shown < count) {
        mu_buf_printf(text, " and %zu more", count - shown);
    }
}
