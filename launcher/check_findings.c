/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list and how it is shown. The rules are in check_rules*.c and check_compare*.c.
 */
#include "launcher/check_findings.h"

#include "muster/mem.h"
#include "muster/names.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TEXT = 1024, /* bytes of one text: it may come from another node */
    MAX_SHOWN = 8,   /* names in a line; of more, some and how many others */
};

void check_findings_add(struct check_findings *list, enum check_severity severity, const char *node,
                        const char *what, const char *found, const char *expected, const char *fix)
{
    if (list->count == list->cap) {
        list->cap = list->cap > 0 ? 2 * list->cap : 16;
        list->items = mu_realloc(list->items, list->cap * sizeof(*list->items));
    }
    list->items[list->count++] = (struct check_finding){
        .severity = severity,
        .node = node != NULL ? mu_names_shown(node, MAX_TEXT) : NULL,
        .what = mu_names_shown(what, MAX_TEXT),
        .found = mu_names_shown(found, MAX_TEXT),
        .expected = mu_names_shown(expected, MAX_TEXT),
        .fix = mu_names_shown(fix, MAX_TEXT),
    };
}

size_t check_findings_count(const struct check_findings *list, enum check_severity severity)
{
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        count += list->items[i].severity == severity;
    }
    return count;
}

void check_findings_fini(struct check_findings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct check_finding *f = &list->items[i];
        free(f->node);
        free(f->what);
        free(f->found);
        free(f->expected);
        free(f->fix);
    }
    free(list->items);
    *list = (struct check_findings){0};
}

/* ---- groups: the same said of several nodes ---- */

static int compare_said(const struct check_finding *a, const struct check_finding *b)
{
    int order = (int)a->severity - (int)b->severity;
    order = order != 0 ? order : strcmp(a->what, b->what);
    order = order != 0 ? order : strcmp(a->found, b->found);
    order = order != 0 ? order : strcmp(a->expected, b->expected);
    return order != 0 ? order : strcmp(a->fix, b->fix);
}

static int compare_nodes(const struct check_finding *a, const struct check_finding *b)
{
    if (a->node == NULL || b->node == NULL) {
        return (a->node != NULL) - (b->node != NULL);
    }
    return mu_names_natural_compare(a->node, b->node);
}

static int compare_items(const void *va, const void *vb)
{
    const struct check_finding *a = *(const struct check_finding *const *)va;
    const struct check_finding *b = *(const struct check_finding *const *)vb;
    int order = compare_said(a, b);
    return order != 0 ? order : compare_nodes(a, b);
}

struct group {
    const struct check_finding **items; /* borrowed, of `sorted` */
    size_t count;
};

struct groups {
    const struct check_finding **sorted; /* owned */
    struct group *items;                 /* owned */
    size_t count;
};

/* What is worse first, then by the first node, then by what it is. */
static int compare_groups(const void *va, const void *vb)
{
    const struct check_finding *a = ((const struct group *)va)->items[0];
    const struct check_finding *b = ((const struct group *)vb)->items[0];
    int order = (int)a->severity - (int)b->severity;
    order = order != 0 ? order : compare_nodes(a, b);
    return order != 0 ? order : compare_said(a, b);
}

static struct groups make_groups(const struct check_findings *list)
{
    struct groups groups = {
        .sorted = mu_calloc(list->count + 1, sizeof(struct check_finding *)),
        .items = mu_calloc(list->count + 1, sizeof(*groups.items)),
    };
    for (size_t i = 0; i < list->count; i++) {
        groups.sorted[i] = &list->items[i];
    }
    qsort(groups.sorted, list->count, sizeof(struct check_finding *), compare_items);
    for (size_t i = 0; i < list->count; i++) {
        if (i == 0 || compare_said(groups.sorted[i - 1], groups.sorted[i]) != 0) {
            groups.items[groups.count++].items = &groups.sorted[i];
        }
        groups.items[groups.count - 1].count++;
    }
    qsort(groups.items, groups.count, sizeof(*groups.items), compare_groups);
    return groups;
}

static void free_groups(struct groups *groups)
{
    free(groups->sorted);
    free(groups->items);
}

/* ---- shown ---- */

static void put_nodes(const struct group *group, size_t nodes, struct mu_buf *text)
{
    if (group->items[0]->node == NULL) {
        mu_buf_printf(text, "the nodes");
        return;
    }
    if (group->count == nodes && nodes > 1) {
        mu_buf_printf(text, "all nodes");
        return;
    }
    size_t shown = group->count <= MAX_SHOWN ? group->count : MAX_SHOWN - 1;
    for (size_t i = 0; i < shown; i++) {
        const char *between = i + 1 < group->count ? ", " : " and ";
        mu_buf_printf(text, "%s%s", i == 0 ? "" : between, group->items[i]->node);
    }
    if (shown < group->count) {
        mu_buf_printf(text, " and %zu more", group->count - shown);
    }
}

static const char *severity_name(enum check_severity severity)
{
    return severity == CHECK_ERROR ? "error" : "warning";
}

static void put_count(size_t count, const char *name, struct mu_buf *text)
{
    if (count > 0) {
        mu_buf_printf(text, ", %zu %s%s", count, name, count == 1 ? "" : "s");
    }
}

void check_findings_text(const struct check_findings *list, size_t nodes, struct mu_buf *text)
{
    struct groups groups = make_groups(list);
    size_t errors = 0;
    for (size_t i = 0; i < groups.count; i++) {
        const struct check_finding *f = groups.items[i].items[0];
        errors += f->severity == CHECK_ERROR;
        mu_buf_printf(text, "%s: ", severity_name(f->severity));
        put_nodes(&groups.items[i], nodes, text);
        mu_buf_printf(text, ": %s [%s]\n    expected: %s\n    to do: %s\n", f->found, f->what,
                      f->expected, f->fix);
    }
    mu_buf_printf(text, "%zu node%s", nodes, nodes == 1 ? "" : "s");
    put_count(errors, "error", text);
    put_count(groups.count - errors, "warning", text);
    mu_buf_printf(text, groups.count == 0 ? ", nothing found\n" : "\n");
    free_groups(&groups);
}

json_t *check_findings_json(const struct check_findings *list, size_t nodes)
{
    struct groups groups = make_groups(list);
    json_t *findings = json_array();
    size_t errors = 0;
    for (size_t i = 0; i < groups.count; i++) {
        const struct group *group = &groups.items[i];
        const struct check_finding *f = group->items[0];
        errors += f->severity == CHECK_ERROR;
        json_t *names = json_array();
        for (size_t k = 0; k < group->count && f->node != NULL; k++) {
            json_array_append_new(names, json_string(group->items[k]->node));
        }
        json_array_append_new(findings, json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "severity",
                                                  severity_name(f->severity), "check", f->what,
                                                  "nodes", names, "found", f->found, "expected",
                                                  f->expected, "fix", f->fix));
    }
    json_t *document =
        json_pack("{s:I, s:I, s:I, s:o}", "nodes", (json_int_t)nodes, "errors", (json_int_t)errors,
                  "warnings", (json_int_t)(groups.count - errors), "findings", findings);
    free_groups(&groups);
    return document;
}
