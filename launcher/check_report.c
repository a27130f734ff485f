/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_report.h"

#include "muster/mem.h"
#include "muster/version.h"

#include <string.h>

enum { TEXT = 512, MISSING_LINES = 16 };

/* A host's short name is as good as its long one. */
static bool is_same_host(const char *a, const char *b)
{
    size_t a_len = strcspn(a, ".");
    size_t b_len = strcspn(b, ".");
    return strcmp(a, b) == 0 || (a_len == b_len && memcmp(a, b, a_len) == 0);
}

static bool has_come(const struct check_report *r, const char *host)
{
    for (size_t i = 0; i < r->links->count; i++) {
        if (is_same_host(r->links->nodes[i].name, host)) {
            return true;
        }
    }
    return false;
}

/* The scheduler's name of the next node that did not come; NULL: none. `*at` begins as 0. */
static const char *next_missing(const struct check_report *r, size_t *at)
{
    size_t count = r->hosts != NULL && r->count == r->links->count ? r->hosts->count : 0;
    while (*at < count) {
        const char *host = r->hosts->names[(*at)++];
        if (!has_come(r, host)) {
            return host;
        }
    }
    return NULL;
}

static void judge_missing(const struct check_report *r, struct check_findings *findings)
{
    if (r->count >= r->expected) {
        return;
    }
    char found[TEXT];
    char expected[TEXT];
    char fix[TEXT];
    size_t missing = r->expected - r->count;
    size_t at = 0;
    size_t lines = 0;
    snprintf(expected, sizeof(expected), "%zu node%s", r->expected, r->expected == 1 ? "" : "s");
    snprintf(fix, sizeof(fix),
             "see what muster says there: was it started, and can it connect to %s? If it only "
             "needs more time, --join-timeout gives it",
             r->meeting);
    snprintf(found, sizeof(found), "it did not come within %lld s",
             (long long)r->join_timeout_ms / 1000);
    const char *host;
    while (lines < missing && lines < MISSING_LINES && (host = next_missing(r, &at)) != NULL) {
        check_findings_add(findings, CHECK_ERROR, host, "missing", found, expected, fix);
        lines++;
    }
    if (lines < missing) {
        snprintf(found, sizeof(found), "%zu %s did not come within %lld s", missing - lines,
                 lines > 0              ? "more nodes"
                 : missing - lines == 1 ? "node"
                                        : "nodes",
                 (long long)r->join_timeout_ms / 1000);
        check_findings_add(findings, CHECK_ERROR, NULL, "missing", found, expected, fix);
    }
}

/* Who came, and then said nothing of what was to be found out. */
static void judge_silent(const struct check_report *r, struct check_findings *findings)
{
    for (size_t i = 0; i < r->links->count; i++) {
        const struct check_links_node *n = &r->links->nodes[i];
        if (!n->has_reported || r->facts[i] == NULL) {
            check_findings_add(
                findings, CHECK_ERROR, n->name, "report",
                !n->has_reported ? "it came, but did not report its connections"
                                 : "it came, but did not say what it found on itself",
                "a report of every node", "see what muster says there; something on it may hang");
        }
    }
}

void check_report_judge(const struct check_report *r, struct check_findings *findings)
{
    judge_missing(r, findings);
    judge_silent(r, findings);
    check_reach_judge(r->links, findings);
    check_pace_judge(r->links, findings);
    for (size_t i = 0; i < r->count; i++) {
        if (r->facts[i] != NULL) {
            check_local(r->facts[i], findings);
        }
    }
    check_compare(r->facts, r->count, findings);
}

/* ---- what was covered ---- */

struct coverage {
    size_t tried;
    size_t possible;
    uint32_t min_us;
    uint32_t max_us;
    bool has_rtt;
};

static struct coverage cover(const struct check_report *r)
{
    struct coverage c = {.possible = r->count * (r->count - 1), .min_us = UINT32_MAX};
    for (size_t i = 0; i < r->links->count * r->links->count; i++) {
        const struct check_link *link = &r->links->links[i];
        c.tried += link->state != CHECK_LINK_UNTRIED ? 1 : 0;
        if (link->state == CHECK_LINK_OK) {
            c.has_rtt = true;
            c.min_us = link->rtt_us < c.min_us ? link->rtt_us : c.min_us;
            c.max_us = link->rtt_us > c.max_us ? link->rtt_us : c.max_us;
        }
    }
    return c;
}

void check_report_text(const struct check_report *r, const struct check_findings *findings,
                       struct mu_buf *text)
{
    struct coverage c = cover(r);
    if (r->count > 1) {
        mu_buf_printf(text, "%zu of %zu connections between nodes probed%s", c.tried, c.possible,
                      c.tried < c.possible && r->count > CHECK_LINKS_ALL_PAIRS
                          ? " (the first node with all, the others 1, 2, 4, ... places further)"
                          : "");
        if (c.has_rtt) {
            mu_buf_printf(text, ", round trips of %.2f to %.2f ms", c.min_us / 1e3, c.max_us / 1e3);
        }
        mu_buf_printf(text, "\n");
    }
    check_findings_text(findings, r->count, text);
}

static json_t *connections_json(const struct check_links *l)
{
    json_t *list = json_array();
    for (size_t from = 0; from < l->count; from++) {
        for (size_t to = 0; to < l->count; to++) {
            const struct check_link *k = check_links_at(l, from, to);
            if (k->state == CHECK_LINK_UNTRIED) {
                continue;
            }
            json_t *o = json_pack("{s:s, s:s, s:s}", "from", l->nodes[from].name, "to",
                                  l->nodes[to].name, "result", check_link_state_name(k->state));
            if (k->state == CHECK_LINK_OK) {
                json_object_set_new(o, "rtt_ms", json_real(k->rtt_us / 1e3));
                json_object_set_new(o, "rtt_median_ms", json_real(k->rtt_median_us / 1e3));
                json_object_set_new(o, "clock_offset_s", json_real((double)k->clock_us / 1e6));
            }
            json_array_append_new(list, o);
        }
    }
    return list;
}

json_t *check_report_json(const struct check_report *r, const struct check_findings *findings)
{
    json_t *o = check_findings_json(findings, r->count);
    json_t *names = json_array();
    json_t *missing = json_array();
    json_t *facts = json_array();
    size_t at = 0;
    const char *host;
    for (size_t i = 0; i < r->links->count; i++) {
        json_array_append_new(names, json_string(r->links->nodes[i].name));
    }
    for (size_t i = 0; i < r->count; i++) {
        json_array_append(facts, r->facts[i] != NULL ? r->facts[i] : json_null());
    }
    while (r->count < r->expected && (host = next_missing(r, &at)) != NULL) {
        json_array_append_new(missing, json_string(host));
    }
    json_object_set_new(o, "version", json_string(MUSTER_VERSION));
    json_object_set_new(o, "expected_nodes", json_integer((json_int_t)r->expected));
    json_object_set_new(o, "names", names);
    json_object_set_new(o, "missing", missing);
    json_object_set_new(o, "coordinator", json_string(r->links->door));
    json_object_set_new(o, "connections", connections_json(r->links));
    json_object_set_new(o, "facts", facts);
    return o;
}
