/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks that are slow, and clocks that differ.
 */
#include "launcher/check_links.h"

#include "launcher/check_blame.h"
#include "muster/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT = 512, PAIR_LINES = 8 };

#define SLOW_US        INT64_C(5000) /* no round trip inside a cluster takes so long */
#define CLOCK_WARN_US  INT64_C(1000000)
#define CLOCK_ERROR_US INT64_C(300000000) /* what MUNGE and Kerberos stand */

/* ---- delays ---- */

static bool is_slow(const struct check_link *link)
{
    return link->state == CHECK_LINK_OK && link->rtt_us > SLOW_US;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* The median round trip of a node, or of all (node == count); of those that are slow or not. */
static uint32_t median_rtt_us(const struct check_links *l, size_t node, bool of_slow)
{
    mu_autofree uint32_t *all = mu_calloc(l->count * l->count, sizeof(*all));
    size_t n = 0;
    for (size_t from = 0; from < l->count; from++) {
        for (size_t to = 0; to < l->count; to++) {
            const struct check_link *link = check_links_at(l, from, to);
            bool is_of_node = node == l->count || from == node || to == node;
            if (is_of_node && link->state == CHECK_LINK_OK && is_slow(link) == of_slow) {
                all[n++] = link->rtt_us;
            }
        }
    }
    if (n == 0) {
        return 0;
    }
    qsort(all, n, sizeof(*all), compare_u32);
    return all[n / 2];
}

static void append_ms(uint32_t us, struct mu_buf *text)
{
    if (us >= 10000) {
        mu_buf_printf(text, "%u ms", us / 1000);
    } else {
        mu_buf_printf(text, "%u.%02u ms", us / 1000, us % 1000 / 10);
    }
}

static void add_delay(const struct check_links *l, const char *node, struct mu_buf *found,
                      uint32_t us, struct check_findings *findings)
{
    append_ms(us, found);
    uint32_t others_us = median_rtt_us(l, l->count, false);
    if (others_us > 0) {
        mu_buf_printf(found, ", ");
        append_ms(others_us, found);
        mu_buf_printf(found, " between the others");
    }
    mu_autofree char *text = mu_buf_take_text(found);
    check_findings_add(findings, CHECK_WARNING, node, "delay", text,
                       "less than 5 ms inside a cluster",
                       "look at its cable, switch port and routes; if the packets take the wrong "
                       "network, choose another with --iface or --cidr");
}

/* Both directions of a pair go the same way twice: it is slow if neither is fast. */
static void fill_slow(const struct check_links *l, uint8_t *cells)
{
    for (size_t from = 0; from < l->count; from++) {
        for (size_t to = 0; to < l->count; to++) {
            const struct check_link *there = check_links_at(l, from, to);
            const struct check_link *back = check_links_at(l, to, from);
            bool is_known = there->state == CHECK_LINK_OK;
            bool is_fast = is_known && !is_slow(there);
            bool is_back_fast = back->state == CHECK_LINK_OK && !is_slow(back);
            cells[from * l->count + to] = !is_known                 ? CHECK_BLAME_UNTRIED
                                          : is_fast || is_back_fast ? CHECK_BLAME_FINE
                                                                    : CHECK_BLAME_BAD;
        }
    }
}

static void add_slow_pairs(const struct check_links *l, const uint8_t *cells,
                           struct check_findings *findings)
{
    size_t lines = 0;
    for (size_t from = 0; from < l->count; from++) {
        for (size_t to = 0; to < l->count; to++) {
            bool is_said = to < from && cells[to * l->count + from] == CHECK_BLAME_BAD;
            if (cells[from * l->count + to] != CHECK_BLAME_BAD || is_said || ++lines > PAIR_LINES) {
                continue;
            }
            struct mu_buf found = {0};
            mu_buf_printf(&found, "a round trip between it and %s takes ", l->nodes[to].name);
            add_delay(l, l->nodes[from].name, &found, check_links_at(l, from, to)->rtt_us,
                      findings);
        }
    }
}

static void judge_delays(const struct check_links *l, struct check_findings *findings)
{
    mu_autofree uint8_t *cells = mu_calloc(l->count * l->count, 1);
    size_t slow = 0;
    size_t fast = 0;
    fill_slow(l, cells);
    for (size_t i = 0; i < l->count * l->count; i++) {
        slow += cells[i] == CHECK_BLAME_BAD ? 1 : 0;
        fast += cells[i] == CHECK_BLAME_FINE ? 1 : 0;
    }
    if (slow > 0 && fast == 0 && l->count > 2) {
        struct mu_buf found = {0};
        mu_buf_printf(&found, "a round trip between any two nodes takes ");
        add_delay(l, NULL, &found, median_rtt_us(l, l->count, true), findings);
        return;
    }
    struct check_blame blames[CHECK_BLAME_MAX];
    size_t count = check_blame_find(cells, l->count, false, blames);
    for (size_t i = 0; i < count; i++) {
        struct mu_buf found = {0};
        mu_buf_printf(&found, "a round trip between it and every other node takes ");
        add_delay(l, l->nodes[blames[i].node].name, &found, median_rtt_us(l, blames[i].node, true),
                  findings);
    }
    add_slow_pairs(l, cells, findings);
}

/* ---- clocks ---- */

struct offset {
    int64_t us;       /* against the first node's clock */
    int64_t error_us; /* it may be wrong by this */
    bool is_known;
};

static struct offset offset_of(const struct check_links *l, size_t node)
{
    const struct check_link *there = check_links_at(l, 0, node);
    const struct check_link *back = check_links_at(l, node, 0);
    bool has_there = there->state == CHECK_LINK_OK;
    bool has_back = back->state == CHECK_LINK_OK;
    if (node == 0) {
        return (struct offset){.is_known = true};
    }
    if (has_there && (!has_back || there->rtt_us <= back->rtt_us)) {
        return (struct offset){
            .us = there->clock_us, .error_us = there->rtt_us / 2, .is_known = true};
    }
    return (struct offset){
        .us = -back->clock_us, .error_us = back->rtt_us / 2, .is_known = has_back};
}

/* Those not known last. */
static int compare_offset(const void *a, const void *b)
{
    const struct offset *x = a;
    const struct offset *y = b;
    if (x->is_known != y->is_known) {
        return x->is_known ? -1 : 1;
    }
    return x->us < y->us ? -1 : x->us > y->us ? 1 : 0;
}

static void append_span(int64_t us, struct mu_buf *text)
{
    us += 50000; /* to the nearest tenth */
    int64_t s = us / 1000000;
    if (s < 120) {
        mu_buf_printf(text, "%" PRId64 ".%" PRId64 " s", s, us / 100000 % 10);
    } else if (s < 7200) {
        mu_buf_printf(text, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    } else {
        mu_buf_printf(text, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
    }
}

static void add_clock(const struct check_links *l, size_t node, int64_t us, const char *than,
                      struct check_findings *findings)
{
    struct mu_buf found = {0};
    int64_t size_us = us < 0 ? -us : us;
    mu_buf_printf(&found, "its clock is ");
    append_span(size_us, &found);
    mu_buf_printf(&found, " %s %s", us < 0 ? "behind" : "ahead of", than);
    mu_autofree char *text = mu_buf_take_text(&found);
    check_findings_add(findings, size_us > CLOCK_ERROR_US ? CHECK_ERROR : CHECK_WARNING,
                       l->nodes[node].name, "clock", text, "less than 1 s between the nodes",
                       "let chrony or another NTP client set it: `chronyc makestep`, "
                       "`timedatectl set-ntp true`");
}

static void judge_clocks(const struct check_links *l, struct check_findings *findings)
{
    mu_autofree struct offset *offsets = mu_calloc(l->count, sizeof(*offsets));
    mu_autofree struct offset *sorted = mu_calloc(l->count, sizeof(*sorted));
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++) {
        offsets[i] = offset_of(l, i);
        sorted[i] = offsets[i];
        n += offsets[i].is_known ? 1 : 0;
    }
    qsort(sorted, l->count, sizeof(*sorted), compare_offset);
    /* Of two nobody can tell which is right: the first node is, for want of a third. */
    struct offset right = n > 2 ? sorted[n / 2] : offsets[0];
    mu_autofree char *first = mu_asprintf("that of %s", l->nodes[0].name);
    for (size_t i = 0; i < l->count; i++) {
        int64_t us = offsets[i].us - right.us;
        int64_t size_us = us < 0 ? -us : us;
        if (offsets[i].is_known && size_us > CLOCK_WARN_US + offsets[i].error_us + right.error_us) {
            add_clock(l, i, us, n > 2 ? "most others" : first, findings);
        }
    }
}

void check_pace_judge(const struct check_links *l, struct check_findings *findings)
{
    judge_delays(l, findings);
    judge_clocks(l, findings);
}
