/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/limit_list.h"

#include "muster/mem.h"
#include "muster/num.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* In the order in which they are told to users. */
static const struct limit_name {
    const char *name;
    int resource;
    bool is_bytes;
} limit_names[] = {
    {"as", RLIMIT_AS, true},
    {"core", RLIMIT_CORE, true},
    {"cpu", RLIMIT_CPU, false},
    {"data", RLIMIT_DATA, true},
    {"fsize", RLIMIT_FSIZE, true},
    {"locks", RLIMIT_LOCKS, false},
    {"memlock", RLIMIT_MEMLOCK, true},
    {"msgqueue", RLIMIT_MSGQUEUE, true},
    {"nice", RLIMIT_NICE, false},
    {"nofile", RLIMIT_NOFILE, false},
    {"nproc", RLIMIT_NPROC, false},
    {"rss", RLIMIT_RSS, true},
    {"rtprio", RLIMIT_RTPRIO, false},
    {"rttime", RLIMIT_RTTIME, false},
    {"sigpending", RLIMIT_SIGPENDING, false},
    {"stack", RLIMIT_STACK, true},
};

_Static_assert(MU_COUNT(limit_names) == LIMIT_LIST_MAX, "as many wishes as there are names");

static const struct limit_name *find_resource(int resource)
{
    for (size_t i = 0; i < MU_COUNT(limit_names); i++) {
        if (limit_names[i].resource == resource) {
            return &limit_names[i];
        }
    }
    return NULL;
}

const char *limit_list_name(int resource)
{
    const struct limit_name *found = find_resource(resource);
    return found != NULL ? found->name : NULL;
}

/* ---- from text ---- */

static int fail_name(const char *name, struct mu_err *err)
{
    struct mu_buf all = {0};
    for (size_t i = 0; i < MU_COUNT(limit_names); i++) {
        mu_buf_printf(&all, "%s%s", i > 0 ? ", " : "", limit_names[i].name);
    }
    mu_autofree char *names = mu_buf_take_text(&all);
    return mu_err_set(err, MU_E_USAGE, 0, "there is no limit '%.32s': the limits are %s", name,
                      names);
}

static int find_name(const char *name, int *ret_resource, struct mu_err *err)
{
    for (size_t i = 0; i < MU_COUNT(limit_names); i++) {
        /* limits.conf has small letters, Slurm's PropagateResourceLimits has capitals. */
        if (strcasecmp(limit_names[i].name, name) == 0) {
            *ret_resource = limit_names[i].resource;
            return 0;
        }
    }
    return fail_name(name, err);
}

static int parse_value(const char *text, struct limit_wish *wish)
{
    int64_t number = 0;
    wish->is_hard = strcmp(text, "hard") == 0;
    if (wish->is_hard || strcmp(text, "unlimited") == 0) {
        wish->wanted = RLIM_INFINITY;
        return 0;
    }
    if (mu_parse_size(text, &number, NULL) != 0) {
        return -1;
    }
    wish->wanted = (rlim_t)number;
    return 0;
}

static int parse_entry(char *entry, struct limit_wish *ret_wish, struct mu_err *err)
{
    struct limit_wish wish = {0};
    char *value = strchr(entry, '=');
    if (value == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'%.64s' is not NAME=VALUE, as in memlock=unlimited,nofile=65536", entry);
    }
    *value++ = '\0';
    if (find_name(entry, &wish.resource, err) != 0) {
        return -1;
    }
    if (parse_value(value, &wish) != 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'%.32s' is no value of %s: give a number, one with K, M, G or T, "
                          "unlimited, or hard",
                          value, entry);
    }
    *ret_wish = wish;
    return 0;
}

int limit_list_parse(const char *text, struct limit_list *ret_list, struct mu_err *err)
{
    struct limit_list list = {0};
    struct mu_slice slice;
    if (text != NULL && text[0] == '\0') {
        text = NULL;
    }
    while (mu_slice_next_entry(&text, &slice)) {
        mu_autofree char *entry = mu_slice_dup(slice);
        struct limit_wish wish = {0};
        if (parse_entry(entry, &wish, err) != 0) {
            return -1;
        }
        for (size_t i = 0; i < list.count; i++) {
            if (list.wishes[i].resource == wish.resource) {
                return mu_err_set(err, MU_E_USAGE, 0, "%s is given twice",
                                  limit_list_name(wish.resource));
            }
        }
        list.wishes[list.count++] = wish;
    }
    *ret_list = list;
    return 0;
}

/* ---- against the hard limits ---- */

bool limit_wish_is_short(const struct limit_wish *wish, rlim_t hard)
{
    return !wish->is_hard && wish->wanted > hard; /* RLIM_INFINITY is above all numbers */
}

rlim_t limit_wish_soft(const struct limit_wish *wish, rlim_t hard)
{
    return wish->wanted < hard ? wish->wanted : hard;
}

/* "8M", or "20000" of what is counted. */
static void format_value(const struct limit_name *name, rlim_t value, char text[MU_SIZE_TEXT])
{
    if (value == RLIM_INFINITY) {
        snprintf(text, MU_SIZE_TEXT, "unlimited");
    } else if (name->is_bytes) {
        mu_format_size(value, text);
    } else {
        snprintf(text, MU_SIZE_TEXT, "%" PRIu64, (uint64_t)value);
    }
}

/* As systemd calls it: LimitMEMLOCK. */
static void append_capitals(const char *name, struct mu_buf *text)
{
    for (; *name != '\0'; name++) {
        mu_buf_append_u8(text, (uint8_t)toupper((unsigned char)*name));
    }
}

static void say_short(const struct limit_wish *wish, rlim_t hard, struct mu_buf *warnings)
{
    const struct limit_name *name = find_resource(wish->resource);
    char wanted[MU_SIZE_TEXT];
    char allowed[MU_SIZE_TEXT];
    format_value(name, wish->wanted, wanted);
    format_value(name, hard, allowed);
    mu_buf_printf(
        warnings,
        "--limit %s=%s: the hard limit on this node is %s, and workers get that; root can "
        "raise it, in /etc/security/limits.conf or for what starts jobs (Slurm: Limit",
        name->name, wanted, allowed);
    append_capitals(name->name, warnings);
    mu_buf_printf(warnings, "= in slurmd's unit)\n");
}

void limit_list_say_short(const struct limit_list *list, struct mu_buf *warnings)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct limit_wish *wish = &list->wishes[i];
        struct rlimit now;
        if (getrlimit((__rlimit_resource_t)wish->resource, &now) == 0 &&
            limit_wish_is_short(wish, now.rlim_max)) {
            say_short(wish, now.rlim_max, warnings);
        }
    }
}

int limit_list_apply(const struct limit_list *list)
{
    int failure = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct limit_wish *wish = &list->wishes[i];
        __rlimit_resource_t resource = (__rlimit_resource_t)wish->resource;
        struct rlimit now;
        if (getrlimit(resource, &now) != 0) {
            failure = errno;
            continue;
        }
        now.rlim_cur = limit_wish_soft(wish, now.rlim_max);
        if (setrlimit(resource, &now) != 0) {
            failure = errno;
        }
    }
    return failure;
}
