/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_rule.h"

#include "muster/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_NAMES = 8 };

int64_t check_rule_int(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

const char *check_rule_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

bool check_rule_flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

const char *check_rule_node(const json_t *facts)
{
    return check_rule_text(facts, "node");
}

int64_t check_rule_cpus(const json_t *facts)
{
    const json_t *cpus = json_object_get(facts, "cpus");
    int64_t allowed = check_rule_int(cpus, "allowed", 0);
    int64_t quota = check_rule_int(cpus, "quota", INT64_MAX);
    int64_t least = quota < allowed ? quota : allowed;
    return least > 0 ? least : 0;
}

int64_t check_rule_gpus(const json_t *facts)
{
    int64_t count = check_rule_int(json_object_get(facts, "gpus"), "count", 0);
    return count > 0 ? count : 0;
}

const char *check_rule_size(int64_t bytes, char text[CHECK_RULE_SIZE])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < MU_COUNT(units); unit++) {
        value /= 1024;
    }
    if (bytes < 0) {
        snprintf(text, CHECK_RULE_SIZE, "unlimited");
    } else {
        snprintf(text, CHECK_RULE_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    }
    return text;
}

void check_rule_names_add(struct check_rule_names *names, const char *name)
{
    if (names->count < SHOWN_NAMES) {
        mu_buf_printf(&names->text, "%s%s", names->count == 0 ? "" : ", ", name);
    }
    names->count++;
}

char *check_rule_names_take(struct check_rule_names *names)
{
    if (names->count > SHOWN_NAMES) {
        mu_buf_printf(&names->text, " and %zu more", names->count - SHOWN_NAMES);
    }
    names->count = 0;
    return mu_buf_take_text(&names->text);
}

void check_rule_say(const struct check_rule *rule, enum check_severity severity, const char *what,
                    const char *expected, const char *fix, const char *found, ...)
{
    char line[1024];
    va_list args;
    va_start(args, found);
    vsnprintf(line, sizeof(line), found, args);
    va_end(args);
    check_findings_add(rule->list, severity, rule->node, what, line, expected, fix);
}

bool check_rule_is_said(const struct check_findings *list, const char *node, const char *what)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct check_finding *f = &list->items[i];
        bool is_of_node = f->node == NULL || strcmp(f->node, node) == 0;
        if (is_of_node && strcmp(f->what, what) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_nodes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct check_rule_said check_rule_said_of(const struct check_findings *list, const char *what)
{
    struct check_rule_said said = {.nodes = mu_calloc(list->count + 1, sizeof(*said.nodes))};
    for (size_t i = 0; i < list->count; i++) {
        const struct check_finding *f = &list->items[i];
        if (strcmp(f->what, what) != 0) {
            continue;
        }
        if (f->node == NULL) {
            said.is_of_all = true;
        } else {
            said.nodes[said.count++] = f->node;
        }
    }
    qsort(said.nodes, said.count, sizeof(*said.nodes), compare_nodes);
    return said;
}

bool check_rule_said_has(const struct check_rule_said *said, const char *node)
{
    return said->is_of_all ||
           bsearch(&node, said->nodes, said->count, sizeof(*said->nodes), compare_nodes) != NULL;
}

void check_rule_said_fini(struct check_rule_said *said)
{
    free(said->nodes);
    *said = (struct check_rule_said){0};
}

void check_local(const json_t *facts, struct check_findings *list)
{
    struct check_rule rule = {.facts = facts, .node = check_rule_node(facts), .list = list};
    if (rule.node != NULL) {
        check_rules_files(&rule);
        check_rules_gpus(&rule);
        check_rules_limits(&rule);
        check_rules_room(&rule);
        check_rules_links(&rule);
    }
}
