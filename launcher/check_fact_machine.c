/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_fact.h"

#include "launcher/cpu_quota.h"
#include "launcher/descriptors.h"
#include "launcher/limit_list.h"
#include "launcher/memory_limit.h"
#include "muster/lines.h"
#include "muster/mem.h"
#include "muster/names.h"
#include "muster/num.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum {
    MAX_TEXT = 256,
    MAX_PROC = 8 * 1024, /* of /proc/self/limits, status, the head of meminfo */
    IPC_LOCK_BIT = 14,   /* CAP_IPC_LOCK of capabilities(7) */
    VALUE_COLUMNS = 2,   /* soft and hard */
};

json_t *check_fact_text(const char *text)
{
    mu_autofree char *shown = mu_names_shown(text, MAX_TEXT);
    return json_string(shown);
}

void check_fact_put_text(json_t *object, const char *key, const char *text)
{
    if (text != NULL) {
        json_object_set_new(object, key, check_fact_text(text));
    }
}

void check_fact_put_int(json_t *object, const char *key, int64_t value)
{
    json_object_set_new(object, key, json_integer(value));
}

void check_fact_put_flag(json_t *object, const char *key, bool value)
{
    json_object_set_new(object, key, json_boolean(value));
}

static void put_file(const struct host_view *host, json_t *facts, const char *key, const char *path)
{
    char text[MAX_TEXT];
    if (host_view_text(host, text, sizeof(text), "%s", path) == 0) {
        check_fact_put_text(facts, key, text);
    }
}

static void put_cpus(const struct host_view *host, json_t *facts)
{
    struct cpu_mask online;
    struct cpu_mask allowed;
    json_t *cpus = json_object();
    if (host_view_mask(host, &online, "/sys/devices/system/cpu/online") == 0) {
        check_fact_put_int(cpus, "machine", cpu_mask_count(&online));
    }
    host_view_allowed(host, &allowed);
    check_fact_put_int(cpus, "allowed", cpu_mask_count(&allowed));
    int64_t quota = cpu_quota(host);
    if (quota != INT64_MAX) {
        check_fact_put_int(cpus, "quota", quota);
    }
    json_object_set_new(facts, "cpus", cpus);
}

static void put_memory(const struct host_view *host, json_t *facts)
{
    char text[MAX_PROC];
    json_t *memory = json_object();
    if (host_view_text(host, text, sizeof(text), "/proc/meminfo") == 0) {
        const char *total = strstr(text, "MemTotal:");
        int64_t kib = total != NULL ? strtoll(total + strlen("MemTotal:"), NULL, 10) : 0;
        if (kib > 0 && kib < INT64_MAX / 1024) {
            check_fact_put_int(memory, "total", kib * 1024);
        }
    }
    int64_t limit = memory_limit(host);
    if (limit != INT64_MAX) {
        check_fact_put_int(memory, "limit", limit);
    }
    json_object_set_new(facts, "memory", memory);
}

/* The next word of a line of /proc/self/limits: a number, or -1 for "unlimited". */
static bool take_limit(const char **text, int64_t *ret)
{
    const char *p = *text + strspn(*text, " ");
    size_t len = strcspn(p, " \n");
    mu_autofree char *word = mu_strndup(p, len);
    struct mu_err ignored = MU_ERR_INIT;
    *text = p + len;
    if (strcmp(word, "unlimited") == 0) {
        *ret = -1;
        return true;
    }
    return mu_parse_int(word, 0, INT64_MAX, ret, &ignored) == 0;
}

static void put_limits(const struct host_view *host, json_t *facts)
{
    static const struct {
        const char *name; /* of setrlimit(2), as --limit has it */
        const char *line; /* of /proc/self/limits */
    } known[] = {
        {"as", "\nMax address space "},      {"core", "\nMax core file size "},
        {"memlock", "\nMax locked memory "}, {"nofile", "\nMax open files "},
        {"nproc", "\nMax processes "},       {"stack", "\nMax stack size "},
    };
    char text[MAX_PROC];
    if (host_view_text(host, text, sizeof(text), "/proc/self/limits") != 0) {
        return;
    }
    json_t *limits = json_object();
    for (size_t i = 0; i < MU_COUNT(known); i++) {
        const char *line = strstr(text, known[i].line);
        const char *p = line != NULL ? line + strlen(known[i].line) : "";
        int64_t values[VALUE_COLUMNS];
        if (!take_limit(&p, &values[0]) || !take_limit(&p, &values[1])) {
            continue;
        }
        if (strcmp(known[i].name, "nofile") == 0) {
            descriptors_workers_limit(&values[0]);
        }
        json_object_set_new(
            limits, known[i].name,
            json_pack("{s:I, s:I}", "soft", (json_int_t)values[0], "hard", (json_int_t)values[1]));
    }
    json_object_set_new(facts, "limits", limits);
}

static int64_t number_of(rlim_t limit)
{
    return limit < (rlim_t)INT64_MAX ? (int64_t)limit : -1;
}

static rlim_t hard_limit(const struct limit_wish *wish, const json_t *limit)
{
    struct rlimit now;
    const json_t *hard = json_object_get(limit, "hard");
    if (json_is_integer(hard)) {
        json_int_t value = json_integer_value(hard);
        return value < 0 ? RLIM_INFINITY : (rlim_t)value;
    }
    return getrlimit(wish->resource, &now) == 0 ? now.rlim_max : RLIM_INFINITY;
}

/* What --limit makes of the limits, and which of its wishes cannot be had. */
static void put_wishes(const char *text, json_t *facts)
{
    struct limit_list wishes;
    struct mu_err ignored = MU_ERR_INIT;
    if (limit_list_parse(text, &wishes, &ignored) != 0) {
        return; /* options_check() has refused it */
    }
    json_t *short_limits = json_array();
    for (size_t i = 0; i < wishes.count; i++) {
        const struct limit_wish *wish = &wishes.wishes[i];
        const char *name = limit_list_name(wish->resource);
        json_t *limit = json_object_get(json_object_get(facts, "limits"), name);
        rlim_t hard = hard_limit(wish, limit);
        if (limit != NULL) {
            check_fact_put_int(limit, "soft", number_of(limit_wish_soft(wish, hard)));
        }
        if (limit_wish_is_short(wish, hard)) {
            json_array_append_new(short_limits, json_pack("{s:s, s:I, s:I}", "name", name, "wanted",
                                                          (json_int_t)number_of(wish->wanted),
                                                          "hard", (json_int_t)number_of(hard)));
        }
    }
    json_object_set_new(facts, "short_limits", short_limits);
}

/* Who has this capability may lock any amount of memory. */
static void put_ipc_lock(const struct host_view *host, json_t *facts)
{
    char text[MAX_PROC];
    if (host_view_text(host, text, sizeof(text), "/proc/self/status") == 0) {
        const char *line = strstr(text, "\nCapEff:");
        uint64_t bits = line != NULL ? strtoull(line + strlen("\nCapEff:"), NULL, 16) : 0;
        check_fact_put_flag(facts, "ipc_lock", (bits >> IPC_LOCK_BIT & 1) != 0);
    }
}

void check_fact_machine(const struct host_view *host, const char *limit, json_t *facts)
{
    struct utsname names;
    put_file(host, facts, "hostname", "/proc/sys/kernel/hostname");
    put_file(host, facts, "kernel", "/proc/sys/kernel/osrelease");
    if (uname(&names) == 0) {
        check_fact_put_text(facts, "arch", names.machine);
    }
    put_cpus(host, facts);
    put_memory(host, facts);
    put_limits(host, facts);
    if (limit != NULL) {
        put_wishes(limit, facts);
    }
    put_ipc_lock(host, facts);
}
