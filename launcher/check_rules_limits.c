/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/check_rule.h"

#include "muster/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -1 in the facts: unlimited. */
enum {
    /*
     * Eight workers with data loaders each, whose tensors are sent as descriptors, come to some
     * thousands. 1024 with a high hard limit is every distribution's default, and programs that
     * need more raise it; 4096 and no way up is the kernel's own default, and too few.
     */
    MIN_FILES_SOFT = 4096,
    MIN_FILES_HARD = 65536,
    MIN_STACK = 8 * 1024 * 1024, /* Linux's default, which libraries rely on */
};

static bool is_at_least(int64_t limit, int64_t wanted)
{
    return limit < 0 || limit >= wanted;
}

/* What to do about a soft limit that is too low; owned by the caller. */
static char *how_to_raise(const char *name, int64_t hard, int64_t wanted, const char *value)
{
    if (is_at_least(hard, wanted) && (wanted >= 0 || hard < 0)) {
        return mu_asprintf("muster run --limit %s=%s", name, value);
    }
    return mu_asprintf(
        "look for ulimit in the job's script and in start-up files of the shell, or have "
        "the administrator raise the hard limit (limits.conf, or the unit of the "
        "scheduler's daemon); then muster run --limit %s=%s",
        name, value);
}

/* False too if it is said already that it is lower than was asked for. */
static bool has_limit(const struct check_rule *r, const char *name, int64_t *soft, int64_t *hard)
{
    const json_t *limit = json_object_get(json_object_get(r->facts, "limits"), name);
    *soft = check_rule_int(limit, "soft", -1);
    *hard = check_rule_int(limit, "hard", -1);
    return json_is_object(limit) && !check_rule_is_said(r->list, r->node, name);
}

static bool has_active_port(const json_t *facts)
{
    size_t i;
    const json_t *port;
    json_array_foreach (json_object_get(facts, "rdma"), i, port) {
        const char *state = check_rule_text(port, "state");
        if (state != NULL && strcmp(state, "ACTIVE") == 0) {
            return true;
        }
    }
    return false;
}

static void check_address_space(const struct check_rule *r)
{
    int64_t soft;
    int64_t hard;
    char size[CHECK_RULE_SIZE];
    if (!has_limit(r, "as", &soft, &hard) || soft < 0) {
        return;
    }
    bool has_gpus = check_rule_gpus(r->facts) > 0;
    mu_autofree char *fix = how_to_raise("as", hard, -1, "unlimited");
    check_rule_say(r, has_gpus ? CHECK_ERROR : CHECK_WARNING, "as",
                   has_gpus ? "unlimited: CUDA reserves more addresses than there is memory"
                            : "unlimited: else a job is out of memory with memory free",
                   fix, "address space is limited to %s (ulimit -v)", check_rule_size(soft, size));
}

static void check_locked_memory(const struct check_rule *r)
{
    int64_t soft;
    int64_t hard;
    char size[CHECK_RULE_SIZE];
    if (has_limit(r, "memlock", &soft, &hard) && soft >= 0 &&
        !check_rule_flag(r->facts, "ipc_lock") && has_active_port(r->facts)) {
        mu_autofree char *fix = how_to_raise("memlock", hard, -1, "unlimited");
        check_rule_say(r, CHECK_ERROR, "memlock", "unlimited: RDMA locks the memory it sends from",
                       fix, "locked memory is limited to %s (ulimit -l)",
                       check_rule_size(soft, size));
    }
}

static const char *number_text(int64_t number, char text[CHECK_RULE_SIZE])
{
    snprintf(text, CHECK_RULE_SIZE, number < 0 ? "unlimited" : "%lld", (long long)number);
    return text;
}

/* Of --limit. */
static void check_short_limits(const struct check_rule *r)
{
    size_t i;
    const json_t *limit;
    json_array_foreach (json_object_get(r->facts, "short_limits"), i, limit) {
        const char *name = check_rule_text(limit, "name");
        char hard[CHECK_RULE_SIZE];
        char wanted[CHECK_RULE_SIZE];
        if (name != NULL) {
            mu_autofree char *expected = mu_asprintf(
                "%s, as --limit asks", number_text(check_rule_int(limit, "wanted", -1), wanted));
            check_rule_say(r, CHECK_WARNING, name, expected,
                           "have the administrator raise the hard limit (limits.conf, or the unit "
                           "of the scheduler's daemon)",
                           "the hard limit of %s is %s", name,
                           number_text(check_rule_int(limit, "hard", -1), hard));
        }
    }
}

void check_rules_limits(const struct check_rule *r)
{
    int64_t soft;
    int64_t hard;
    char size[CHECK_RULE_SIZE];
    check_short_limits(r);
    check_address_space(r);
    check_locked_memory(r);
    if (has_limit(r, "nofile", &soft, &hard) && !is_at_least(soft, MIN_FILES_SOFT) &&
        !is_at_least(hard, MIN_FILES_HARD)) {
        check_rule_say(r, CHECK_WARNING, "nofile",
                       "a hard limit of 65536 or more: data loaders send tensors as open files",
                       "have the administrator raise the hard limit of nofile",
                       "%lld files may be open, %lld at most (ulimit -n)", (long long)soft,
                       (long long)hard);
    }
    if (has_limit(r, "stack", &soft, &hard) && !is_at_least(soft, MIN_STACK)) {
        mu_autofree char *fix = how_to_raise("stack", hard, MIN_STACK, "8M");
        check_rule_say(r, CHECK_WARNING, "stack", "8 MiB, Linux's default, or more", fix,
                       "stacks are limited to %s (ulimit -s)", check_rule_size(soft, size));
    }
}
