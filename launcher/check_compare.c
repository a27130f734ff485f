/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The odd one out. A value that more than half of the nodes have is what is expected of the others;
 * of what there can be too little, the median is.
 */
#include "launcher/check_compare.h"

#include "muster/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_GROUPS = 4, MAX_VALUE = 160, MAX_LINE = 900 };

struct value {
    const char *node; /* borrowed */
    size_t place;     /* among the nodes */
    char *text;       /* owned; NULL for a number */
    int64_t number;
};

struct values {
    struct value *items; /* owned */
    size_t count;
};

static void free_values(struct values *v)
{
    for (size_t i = 0; i < v->count; i++) {
        free(v->items[i].text);
    }
    free(v->items);
}

/* ---- the same everywhere ---- */

static int compare_texts(const void *va, const void *vb)
{
    const struct value *a = va;
    const struct value *b = vb;
    int order = strcmp(a->text, b->text);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

/* How many values from `at` on are the same. */
static size_t run_of(const struct values *v, size_t at)
{
    size_t end = at + 1;
    while (end < v->count && strcmp(v->items[end].text, v->items[at].text) == 0) {
        end++;
    }
    return end - at;
}

static void say_groups(const struct values *v, const struct check_same *same,
                       struct check_findings *list)
{
    struct mu_buf found = {0};
    size_t groups = 0;
    for (size_t at = 0, run; at < v->count; at += run) {
        run = run_of(v, at);
        if (groups++ >= SHOWN_GROUPS) {
            continue;
        }
        struct check_rule_names names = {0};
        for (size_t i = at; i < at + run; i++) {
            check_rule_names_add(&names, v->items[i].node);
        }
        mu_autofree char *nodes = check_rule_names_take(&names);
        mu_buf_printf(&found, "%s%s on %s", groups > 1 ? "; " : "", v->items[at].text, nodes);
    }
    if (groups > SHOWN_GROUPS) {
        mu_buf_printf(&found, "; and %zu more", groups - SHOWN_GROUPS);
    }
    mu_autofree char *text = mu_buf_take_text(&found);
    mu_autofree char *line = mu_asprintf("%s: %.*s", same->label, MAX_LINE, text);
    check_findings_add(list, same->severity, NULL, same->what, line, "the same on all nodes",
                       same->fix);
}

static void judge_texts(const struct values *v, const struct check_same *same,
                        struct check_findings *list)
{
    size_t best = 0;
    size_t most = 0;
    qsort(v->items, v->count, sizeof(*v->items), compare_texts);
    for (size_t at = 0, run; at < v->count; at += run) {
        run = run_of(v, at);
        if (run > most) {
            most = run;
            best = at;
        }
    }
    if (most == v->count) {
        return;
    }
    if (most <= v->count / 2) {
        say_groups(v, same, list);
        return;
    }
    mu_autofree char *expected =
        mu_asprintf("%s, as on %zu other nodes", v->items[best].text, most);
    for (size_t i = 0; i < v->count; i++) {
        if (i < best || i >= best + most) {
            mu_autofree char *found = mu_asprintf("%s: %s", same->label, v->items[i].text);
            check_findings_add(list, same->severity, v->items[i].node, same->what, found, expected,
                               same->fix);
        }
    }
}

static void check_same(const json_t *const *facts, size_t count, const struct check_same *same,
                       struct check_findings *list)
{
    struct values v = {.items = mu_calloc(count, sizeof(*v.items))};
    struct check_rule_said said = check_rule_said_of(list, same->what);
    struct check_rule_said covered =
        check_rule_said_of(list, same->covered_by != NULL ? same->covered_by : same->what);
    for (size_t i = 0; i < count; i++) {
        const char *node = check_rule_node(facts[i]);
        char *text = same->read(facts[i]);
        if (text != NULL && !check_rule_said_has(&said, node) &&
            !check_rule_said_has(&covered, node)) {
            v.items[v.count++] =
                (struct value){.node = node, .place = i, .text = mu_strndup(text, MAX_VALUE)};
        }
        free(text);
    }
    check_rule_said_fini(&said);
    check_rule_said_fini(&covered);
    judge_texts(&v, same, list);
    free_values(&v);
}

/* ---- not less than most ---- */

static int compare_numbers(const void *va, const void *vb)
{
    int64_t a = *(const int64_t *)va;
    int64_t b = *(const int64_t *)vb;
    return (a > b) - (a < b);
}

static void show(const struct check_least *least, int64_t number, char *text, size_t size)
{
    char value[CHECK_RULE_SIZE];
    if (number == INT64_MAX || least->is_size) {
        check_rule_size(number == INT64_MAX ? -1 : number, value);
    } else {
        snprintf(value, sizeof(value), "%lld", (long long)number);
    }
    snprintf(text, size, "%s%s", value, number == INT64_MAX ? "" : least->unit);
}

/* The label around a value. */
static char *sentence(const struct check_least *least, const char *value)
{
    const char *at = strstr(least->label, "%s");
    return mu_asprintf("%.*s%s%s", (int)(at - least->label), least->label, value, at + 2);
}

static bool is_less(int64_t number, int64_t reference, int percent)
{
    return percent == 100 ? number < reference : (double)number * 100 < (double)reference * percent;
}

static void check_least(const json_t *const *facts, size_t count, const struct check_least *least,
                        struct check_findings *list)
{
    struct values v = {.items = mu_calloc(count, sizeof(*v.items))};
    mu_autofree int64_t *sorted = mu_calloc(count, sizeof(*sorted));
    struct check_rule_said said = check_rule_said_of(list, least->what);
    for (size_t i = 0; i < count; i++) {
        const char *node = check_rule_node(facts[i]);
        int64_t number = least->read(facts[i]);
        if (number >= 0 && !check_rule_said_has(&said, node)) {
            sorted[v.count] = number;
            v.items[v.count++] = (struct value){.node = node, .number = number};
        }
    }
    check_rule_said_fini(&said);
    qsort(sorted, v.count, sizeof(*sorted), compare_numbers);
    int64_t reference = v.count > 0 ? sorted[v.count / 2] : 0;
    for (size_t i = 0; i < v.count; i++) {
        if (is_less(v.items[i].number, reference, least->percent)) {
            char value[64];
            char most[64];
            show(least, v.items[i].number, value, sizeof(value));
            show(least, reference, most, sizeof(most));
            mu_autofree char *found = sentence(least, value);
            mu_autofree char *expected = mu_asprintf("%s, as on other nodes", most);
            check_findings_add(list, CHECK_WARNING, v.items[i].node, least->what, found, expected,
                               least->fix);
        }
    }
    free_values(&v);
}

/* ---- names ---- */

/*
 * That it leads to the loopback interface is Debian's habit and no fault, for muster tells workers
 * which interface to use; but then it does so everywhere.
 */
static void check_names(const json_t *const *facts, size_t count, struct check_findings *list)
{
    size_t reachable = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_object_get(facts[i], "name");
        reachable += json_is_false(json_object_get(name, "is_loopback"));
    }
    struct check_rule_said said = check_rule_said_of(list, "name");
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_object_get(facts[i], "name");
        struct check_rule rule = {
            .facts = facts[i], .node = check_rule_node(facts[i]), .list = list};
        if (check_rule_said_has(&said, rule.node)) {
            continue;
        }
        if (json_is_false(json_object_get(name, "resolves"))) {
            check_rule_say(&rule, CHECK_WARNING, "name", "an address that other nodes reach",
                           "name the node in /etc/hosts or in DNS",
                           "the node's own host name has no address");
        } else if (check_rule_flag(name, "is_loopback") && reachable > 0) {
            check_rule_say(&rule, CHECK_WARNING, "name", "an address that other nodes reach",
                           "take the name off the line of 127.0.0.1 or 127.0.1.1 in /etc/hosts",
                           "the node's own host name means the loopback interface");
        }
    }
    check_rule_said_fini(&said);
}

void check_compare(json_t *const *facts, size_t nodes, struct check_findings *list)
{
    mu_autofree const json_t **known = mu_calloc(nodes + 1, sizeof(json_t *));
    size_t count = 0;
    for (size_t i = 0; i < nodes; i++) {
        if (check_rule_node(facts[i]) != NULL) {
            known[count++] = facts[i];
        }
    }
    if (count < 2) {
        return;
    }
    size_t rules;
    const struct check_same *same = check_compare_same(&rules);
    for (size_t i = 0; i < rules; i++) {
        check_same(known, count, &same[i], list);
    }
    check_compare_packages(known, count, list);
    const struct check_least *least = check_compare_least(&rules);
    for (size_t i = 0; i < rules; i++) {
        check_least(known, count, &least[i], list);
    }
    check_names(known, count, list);
}
