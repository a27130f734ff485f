/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python packages. Nodes are grouped by the hash of all of theirs; each group but the largest is
 * set beside that, package by package.
 */
#include "launcher/check_compare.h"

#include "muster/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHOWN = 5,
    MAX_GROUPS = 16, /* environments that are told apart; of further ones nothing is said */
};

struct group {
    const char *hash;   /* borrowed */
    const json_t *list; /* of its first node: "name==version" */
    bool has_all;       /* else the list is of the important ones only */
    size_t place;       /* of its first node */
    size_t count;
};

static const json_t *python_of(const json_t *facts)
{
    return json_object_get(facts, "python");
}

/* A node of which this is known, and of whose interpreter nothing is said that explains it. */
static const char *hash_of(const json_t *facts, const struct check_rule_said *said)
{
    const char *hash = check_rule_text(python_of(facts), "packages_hash");
    bool has_list = json_is_array(json_object_get(python_of(facts), "packages"));
    return has_list && !check_rule_said_has(said, check_rule_node(facts)) ? hash : NULL;
}

/* The name of a package, of which `*ret_version` is behind the "==". */
static size_t split(const char *package, const char **ret_version)
{
    const char *equals = strstr(package, "==");
    *ret_version = equals != NULL ? equals + 2 : "";
    return equals != NULL ? (size_t)(equals - package) : strlen(package);
}

static int compare_names(const char *a, const char *b)
{
    const char *ignored;
    size_t len_a = split(a, &ignored);
    size_t len_b = split(b, &ignored);
    int order = memcmp(a, b, len_a < len_b ? len_a : len_b);
    return order != 0 ? order : (len_a > len_b) - (len_a < len_b);
}

static int compare_packages(const void *a, const void *b)
{
    const char *pa = *(const char *const *)a;
    const char *pb = *(const char *const *)b;
    int order = compare_names(pa, pb);
    return order != 0 ? order : strcmp(pa, pb);
}

/* Sorted by name, NULL at the end, without those that are compared by themselves. */
static const char **sorted_of(const json_t *list)
{
    const char **sorted = mu_calloc(json_array_size(list) + 1, sizeof(*sorted));
    size_t count = 0;
    size_t i;
    const json_t *item;
    json_array_foreach (list, i, item) {
        const char *text = json_string_value(item);
        if (text != NULL && !check_compare_is_own(text)) {
            sorted[count++] = text;
        }
    }
    qsort(sorted, count, sizeof(*sorted), compare_packages);
    return sorted;
}

/*
 * What differs; *ret_count is how much, of which the first few are told. Owned by the caller. Of
 * lists that are not whole only what both have counts.
 */
static char *difference(const json_t *here, const json_t *there, bool has_all, size_t *ret_count)
{
    mu_autofree const char **all_a = sorted_of(here);
    mu_autofree const char **all_b = sorted_of(there);
    struct mu_buf text = {0};
    size_t count = 0;
    for (const char **a = all_a, **b = all_b; *a != NULL || *b != NULL;) {
        int order = *a == NULL ? 1 : *b == NULL ? -1 : compare_names(*a, *b);
        const char *version_a = "";
        const char *version_b = "";
        size_t len_a = *a != NULL ? split(*a, &version_a) : 0;
        size_t len_b = *b != NULL ? split(*b, &version_b) : 0;
        bool is_other = order != 0 ? has_all : strcmp(*a, *b) != 0;
        bool is_shown = is_other && count++ < SHOWN;
        const char *comma = count > 1 ? ", " : "";
        if (is_shown && order == 0) {
            mu_buf_printf(&text, "%s%.*s %s instead of %s", comma, (int)len_a, *a, version_a,
                          version_b);
        } else if (is_shown && order < 0) {
            mu_buf_printf(&text, "%s%.*s %s in addition", comma, (int)len_a, *a, version_a);
        } else if (is_shown) {
            mu_buf_printf(&text, "%s%.*s missing", comma, (int)len_b, *b);
        }
        a += order <= 0;
        b += order >= 0;
    }
    if (count > SHOWN) {
        mu_buf_printf(&text, " and %zu more", count - SHOWN);
    }
    *ret_count = count;
    return mu_buf_take_text(&text);
}

static int compare_groups(const void *va, const void *vb)
{
    const struct group *a = va;
    const struct group *b = vb;
    if (a->count != b->count) {
        return a->count > b->count ? -1 : 1;
    }
    return (a->place > b->place) - (a->place < b->place);
}

static size_t find_groups(const json_t *const *facts, size_t count,
                          const struct check_rule_said *said, struct group groups[MAX_GROUPS])
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const char *hash = hash_of(facts[i], said);
        size_t k = 0;
        while (hash != NULL && k < found && strcmp(groups[k].hash, hash) != 0) {
            k++;
        }
        if (hash == NULL || k == MAX_GROUPS) {
            continue;
        }
        if (k == found) {
            groups[found++] = (struct group){
                .hash = hash,
                .list = json_object_get(python_of(facts[i]), "packages"),
                .has_all = check_rule_flag(python_of(facts[i]), "has_all_packages"),
                .place = i,
            };
        }
        groups[k].count++;
    }
    qsort(groups, found, sizeof(*groups), compare_groups);
    return found;
}

/* The hash is that of all, and so of those that have findings of their own. */
static bool is_explained(const struct check_findings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *what = list->items[i].what;
        if (strcmp(what, "torch") == 0 || strcmp(what, "nccl") == 0) {
            return true;
        }
    }
    return false;
}

void check_compare_packages(const json_t *const *facts, size_t count, struct check_findings *list)
{
    struct group groups[MAX_GROUPS] = {0};
    struct check_rule_said said = check_rule_said_of(list, "python");
    size_t found = find_groups(facts, count, &said, groups);
    for (size_t g = 1; g < found; g++) {
        size_t differing;
        bool has_all = groups[g].has_all && groups[0].has_all;
        mu_autofree char *text = difference(groups[g].list, groups[0].list, has_all, &differing);
        if (differing == 0 && (has_all || is_explained(list))) {
            continue;
        }
        mu_autofree char *line = mu_asprintf(
            "Python packages differ: %s", differing > 0 ? text : "others than the important ones");
        mu_autofree char *expected =
            mu_asprintf("the packages of %s", check_rule_node(facts[groups[0].place]));
        for (size_t i = 0; i < count; i++) {
            const char *hash = hash_of(facts[i], &said);
            if (hash != NULL && strcmp(hash, groups[g].hash) == 0) {
                check_findings_add(list, CHECK_WARNING, check_rule_node(facts[i]), "packages", line,
                                   expected,
                                   "one environment for all nodes, on a shared file system or in "
                                   "the same container image");
            }
        }
    }
    check_rule_said_fini(&said);
}
