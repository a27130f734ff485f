/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options.h"

#include "muster/mem.h"
#include "muster/num.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct options_row rows[OPTION_COUNT] = {
#define OPTION(field_, type_, name_, ...)                            \
    [OPTION_##field_] = {.type = OPTIONS_##type_,                    \
                         .offset = offsetof(struct options, field_), \
                         .name = name_,                              \
                         __VA_ARGS__},
#include "launcher/options.def"
};

static const char *const group_titles[OPTIONS_GROUP_COUNT] = {
#define GROUP(id, title) [OPTIONS_GROUP_##id] = title,
#include "launcher/options.def"
};

const struct options_row *options_table(void)
{
    return rows;
}

const char *options_group_title(enum options_group group)
{
    return group_titles[group];
}

static void *field_of(struct options *opts, const struct options_row *row)
{
    return (char *)opts + row->offset;
}

static void clear_field(struct options *opts, const struct options_row *row)
{
    void *field = field_of(opts, row);
    switch (row->type) {
    case OPTIONS_STRING:
    case OPTIONS_CHOICE:
        *(const char **)field = NULL;
        break;
    case OPTIONS_INT:
    case OPTIONS_NPROC:
    case OPTIONS_DURATION:
    case OPTIONS_SIZE:
        *(int64_t *)field = -1;
        break;
    case OPTIONS_FLAG:
        *(bool *)field = false;
        break;
    case OPTIONS_RANGE:
        *(struct options_range *)field = (struct options_range){.min = -1, .max = -1};
        break;
    case OPTIONS_ENDPOINT:
        *(struct mu_endpoint *)field = (struct mu_endpoint){.port = 0};
        break;
    }
}

void options_init(struct options *opts, enum options_command command)
{
    memset(opts, 0, sizeof(*opts));
    opts->command = command;
    opts->leash = -1;
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        clear_field(opts, &rows[id]);
        if (rows[id].fallback != NULL) {
            struct mu_err err = MU_ERR_INIT;
            int rc = options_set(opts, id, rows[id].fallback, OPTIONS_FROM_DEFAULT, &err);
            MU_REQUIRE(rc == 0);
        }
    }
}

static bool is_choice(const char *choices, const char *text)
{
    for (const char *p = choices; *p != '\0';) {
        size_t n = strcspn(p, "|");
        if (strlen(text) == n && memcmp(p, text, n) == 0) {
            return true;
        }
        p += n + (p[n] != '\0');
    }
    return false;
}

static int set_string(const struct options_row *row, const char *text, const char **ret_value,
                      struct mu_err *err)
{
    if (row->max > 0 && strlen(text) > (size_t)row->max) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%.32s...' is longer than %lld bytes", text,
                          (long long)row->max);
    }
    if (row->type == OPTIONS_CHOICE && !is_choice(row->choices, text)) {
        mu_err_set(err, MU_E_USAGE, 0, "'%s' is none of", text);
        for (const char *p = row->choices; err != NULL && *p != '\0';) {
            size_t n = strcspn(p, "|");
            mu_err_set(err, MU_E_USAGE, 0, "%s%s %.*s", err->text,
                       p == row->choices ? "" : (p[n] == '\0' ? " or" : ","), (int)n, p);
            p += n + (p[n] != '\0');
        }
        return -1;
    }
    *ret_value = text;
    return 0;
}

static int set_duration(const struct options_row *row, const char *text, int64_t *ret_ms,
                        struct mu_err *err)
{
    int64_t ms;
    if (mu_parse_duration(text, &ms, err) != 0) {
        return -1;
    }
    if (ms < row->min) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' is shorter than %lld ms", text,
                          (long long)row->min);
    }
    if (row->max > 0 && ms > row->max) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' is longer than %lld s", text,
                          (long long)row->max / 1000);
    }
    *ret_ms = ms;
    return 0;
}

/* torchrun's rule for PET_ flags: an integer, anything but 0 is on. */
static int set_flag(const char *text, bool *ret_value, struct mu_err *err)
{
    int64_t v = 1;
    if (text != NULL && mu_parse_int(text, INT32_MIN, INT32_MAX, &v, NULL) != 0) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' is neither 0 (off) nor 1 (on)", text);
    }
    *ret_value = v != 0;
    return 0;
}

static int set_size(const struct options_row *row, const char *text, int64_t *ret_bytes,
                    struct mu_err *err)
{
    int64_t bytes;
    if (mu_parse_size(text, &bytes, err) != 0) {
        return -1;
    }
    if (bytes < row->min) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' is less than %lld bytes", text,
                          (long long)row->min);
    }
    *ret_bytes = bytes;
    return 0;
}

static int set_nproc(const struct options_row *row, const char *text, int64_t *ret_count,
                     struct mu_err *err)
{
    static const struct {
        const char *word;
        enum options_nproc count;
    } words[] = {{"auto", OPTIONS_NPROC_AUTO},
                 {"cpu", OPTIONS_NPROC_CPU},
                 {"gpu", OPTIONS_NPROC_GPU},
                 {"xpu", OPTIONS_NPROC_XPU}};
    for (size_t i = 0; i < MU_COUNT(words); i++) {
        if (strcmp(text, words[i].word) == 0) {
            *ret_count = words[i].count;
            return 0;
        }
    }
    if (mu_parse_int(text, row->min, row->max, ret_count, err) != 0) {
        return mu_err_set(
            err, MU_E_USAGE, 0,
            "'%s' is neither a whole number from %lld to %lld nor auto, cpu, gpu or xpu", text,
            (long long)row->min, (long long)row->max);
    }
    return 0;
}

static int set_endpoint(const char *text, struct mu_endpoint *ret_endpoint, struct mu_err *err)
{
    if (text[0] == '\0') {
        *ret_endpoint = (struct mu_endpoint){.port = 0};
        return 0;
    }
    return mu_endpoint_parse(text, MU_DEFAULT_PORT, ret_endpoint, err);
}

static int set_field(const struct options_row *row, void *field, const char *text,
                     struct mu_err *err)
{
    struct options_range *range = field;
    switch (row->type) {
    case OPTIONS_STRING:
    case OPTIONS_CHOICE:
        return set_string(row, text, field, err);
    case OPTIONS_INT:
        return mu_parse_int(text, row->min, row->max, field, err);
    case OPTIONS_NPROC:
        return set_nproc(row, text, field, err);
    case OPTIONS_FLAG:
        return set_flag(text, field, err);
    case OPTIONS_DURATION:
        return set_duration(row, text, field, err);
    case OPTIONS_SIZE:
        return set_size(row, text, field, err);
    case OPTIONS_RANGE:
        return mu_parse_range(text, row->max, &range->min, &range->max, err);
    case OPTIONS_ENDPOINT:
        return set_endpoint(text, field, err);
    }
    return mu_err_set(err, MU_E_USAGE, 0, "option of an unknown type");
}

static bool is_space_at(const char *text, size_t at)
{
    return isspace((unsigned char)text[at]) != 0;
}

/* Nothing but white space before the next number, or the end. */
static bool is_margin(const char *text, size_t at)
{
    size_t end = at + strspn(text + at, " \t\r\n\f\v");
    size_t begin = at;
    while (begin > 0 && is_space_at(text, begin - 1)) {
        begin--;
    }
    return begin == 0 || text[begin - 1] == ':' || text[end] == '\0' || text[end] == ':';
}

/*
 * torchrun reads numbers with Python's int() and float(), and so takes white space around them, a
 * plus sign, ".5" and "1e-1", which scripts and manifests do write. Gives `text` as our strict
 * parsers want it, in `buf` if it is not that already.
 */
static const char *plain_number(enum options_type type, const char *text, char *buf, size_t size)
{
    size_t len = 0;
    if (type == OPTIONS_STRING || type == OPTIONS_CHOICE || strlen(text) >= size) {
        return text;
    }
    for (size_t at = 0; text[at] != '\0'; at++) {
        bool is_first = len == 0 || buf[len - 1] == ':';
        bool is_plus = text[at] == '+' && is_first && isdigit((unsigned char)text[at + 1]);
        if (!is_plus && !(is_space_at(text, at) && is_margin(text, at))) {
            buf[len++] = text[at];
        }
    }
    buf[len] = '\0';
    if (type == OPTIONS_DURATION && strspn(buf, "0123456789.eE+-") == len) {
        char *end = NULL;
        double seconds = strtod(buf, &end);
        if (len > 0 && *end == '\0' && seconds >= 0 && seconds < INT32_MAX) {
            snprintf(buf, size, "%.3f", seconds);
        }
    }
    return buf;
}

int options_set(struct options *opts, enum options_id id, const char *text,
                enum options_origin origin, struct mu_err *err)
{
    char number[256];
    const struct options_row *row = &rows[id];
    if (origin < opts->origin[id]) {
        return 0;
    }
    MU_REQUIRE(text != NULL || row->type == OPTIONS_FLAG);
    if (text != NULL) {
        text = plain_number(row->type, text, number, sizeof(number));
    }
    if (set_field(row, field_of(opts, row), text, err) != 0) {
        char name[64];
        options_origin_name(id, origin, name, sizeof(name));
        return mu_err_wrap(err, "%s", name);
    }
    opts->origin[id] = origin;
    return 0;
}

void options_origin_name(enum options_id id, enum options_origin origin, char *text, size_t size)
{
    const char *prefix = "";
    switch (origin) {
    case OPTIONS_FROM_DEFAULT:
        snprintf(text, size, "default");
        return;
    case OPTIONS_FROM_SCHED:
        snprintf(text, size, "scheduler");
        return;
    case OPTIONS_FROM_CLI:
        snprintf(text, size, "--%s", rows[id].name);
        return;
    case OPTIONS_FROM_OTHER:
        snprintf(text, size, "--%s", rows[id].implied_by);
        return;
    case OPTIONS_FROM_ALSO:
        snprintf(text, size, "%s", rows[id].also_env);
        return;
    case OPTIONS_FROM_PET:
        prefix = "PET_";
        break;
    case OPTIONS_FROM_MUSTER:
        prefix = "MUSTER_";
        break;
    }
    snprintf(text, size, "%s%s", prefix, rows[id].name);
    for (char *p = text; *p != '\0'; p++) {
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
}
