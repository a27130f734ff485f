/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options_show.h"

#include "muster/mem.h"
#include "muster/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ORIGIN_COLUMN = 40 };

static void show_duration(int64_t ms, struct mu_buf *text)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}};
    for (size_t i = 0; i < MU_COUNT(units); i++) {
        if (ms > 0 && ms % units[i].ms == 0) {
            mu_buf_printf(text, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
            return;
        }
    }
    mu_buf_printf(text, "%" PRId64 "ms", ms);
}

static void show_nproc(int64_t count, struct mu_buf *text)
{
    switch (count) {
    case OPTIONS_NPROC_AUTO:
        mu_buf_printf(text, "auto");
        break;
    case OPTIONS_NPROC_CPU:
        mu_buf_printf(text, "cpu");
        break;
    case OPTIONS_NPROC_GPU:
        mu_buf_printf(text, "gpu");
        break;
    case OPTIONS_NPROC_XPU:
        mu_buf_printf(text, "xpu");
        break;
    default:
        mu_buf_printf(text, "%" PRId64, count);
        break;
    }
}

/* As it would be written on a command line: "8", "1:4", "30s", "1G", "host:29500". */
static void show_value(const struct options *opts, enum options_id id, struct mu_buf *text)
{
    const struct options_row *row = &options_table()[id];
    const void *field = (const char *)opts + row->offset;
    int64_t number = 0;
    switch (row->type) {
    case OPTIONS_STRING:
    case OPTIONS_CHOICE: {
        const char *value = *(const char *const *)field;
        mu_buf_printf(text, "%s", value != NULL ? value : "");
        return;
    }
    case OPTIONS_FLAG:
        mu_buf_printf(text, *(const bool *)field ? "true" : "false");
        return;
    case OPTIONS_RANGE: {
        const struct options_range *range = field;
        mu_buf_printf(text, "%" PRId64, range->min);
        if (range->max != range->min) {
            mu_buf_printf(text, ":%" PRId64, range->max);
        }
        return;
    }
    case OPTIONS_ENDPOINT: {
        const struct mu_endpoint *endpoint = field;
        char host[MU_MAX_NAME + 16] = "";
        if (endpoint->host[0] != '\0') {
            mu_endpoint_format(endpoint, host, sizeof(host));
        }
        mu_buf_printf(text, "%s", host);
        return;
    }
    case OPTIONS_INT:
    case OPTIONS_NPROC:
    case OPTIONS_DURATION:
    case OPTIONS_SIZE:
        number = *(const int64_t *)field;
        break;
    }
    if (row->type == OPTIONS_NPROC) {
        show_nproc(number, text);
    } else if (number < 0) {
        return; /* unset */
    } else if (row->type == OPTIONS_DURATION) {
        show_duration(number, text);
    } else if (row->type == OPTIONS_SIZE) {
        char size[MU_SIZE_TEXT];
        mu_format_size((uint64_t)number, size);
        mu_buf_printf(text, "%s", size);
    } else {
        mu_buf_printf(text, "%" PRId64, number);
    }
}

/* Would YAML read a plain word as this text, or as a number of the same digits? */
static bool is_plain(const char *value)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "_./+-";
    return value[0] != '\0' && value[0] != '-' && strcmp(value, "null") != 0 &&
           strspn(value, safe) == strlen(value);
}

static void append_yaml(const char *value, struct mu_buf *text)
{
    if (is_plain(value)) {
        mu_buf_printf(text, "%s", value);
        return;
    }
    mu_buf_append_u8(text, '"');
    for (const char *p = value; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f) {
            mu_buf_printf(text, "\\x%02x", c);
        } else {
            mu_buf_printf(text, "%s%c", c == '"' || c == '\\' ? "\\" : "", c);
        }
    }
    mu_buf_append_u8(text, '"');
}

static void show_row(const struct options *opts, enum options_id id, struct mu_buf *text)
{
    const struct options_row *row = &options_table()[id];
    struct mu_buf value = {0};
    show_value(opts, id, &value);
    mu_buf_append_u8(&value, '\0');
    char origin[64];
    options_origin_name(id, opts->origin[id], origin, sizeof(origin));
    if (opts->origin[id] == OPTIONS_FROM_SCHED && opts->sched != NULL) {
        snprintf(origin, sizeof(origin), "%s", opts->sched->name);
    }

    size_t start = text->len;
    bool is_set = value.len > 1;
    mu_buf_printf(text, "%s%s:%s", is_set ? "" : "# ", row->name, is_set ? " " : "");
    if (is_set && row->type == OPTIONS_ENDPOINT) {
        mu_buf_printf(text, "\"%s\"", (const char *)value.data);
    } else if (is_set) {
        append_yaml((const char *)value.data, text);
    }
    size_t width = text->len - start;
    mu_buf_printf(text, "%*s # %s\n", width < ORIGIN_COLUMN ? (int)(ORIGIN_COLUMN - width) : 0, "",
                  is_set ? origin : "unset");
    mu_buf_fini(&value);
}

void options_show(const struct options *opts, struct mu_buf *text)
{
    for (enum options_group group = 0; group < OPTIONS_GROUP_COUNT; group++) {
        bool is_begun = false;
        for (enum options_id id = 0; id < OPTION_COUNT; id++) {
            const struct options_row *row = &options_table()[id];
            /* What makes the command show this instead of running is no setting of a job. */
            bool is_action = row->is_cli_only && row->type == OPTIONS_FLAG;
            if (row->group != group || (row->commands & opts->command) == 0 || is_action) {
                continue;
            }
            if (!is_begun) {
                mu_buf_printf(text, "%s# %s\n", group > 0 ? "\n" : "", options_group_title(group));
                is_begun = true;
            }
            show_row(opts, id, text);
        }
    }
}
