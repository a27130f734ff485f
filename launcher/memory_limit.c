/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/memory_limit.h"

#include "launcher/cgroup_least.h"

/* Version 1 has no word for "none": the largest number of pages, which depends on their size. */
#define NONE_V1 (INT64_C(1) << 62)

static int64_t limit_v2(const struct host_view *host, const char *mount, const char *dir)
{
    return host_view_int(host, INT64_MAX, "%s%s/memory.max", mount, dir); /* "max" is the rule */
}

static int64_t limit_v1(const struct host_view *host, const char *mount, const char *dir)
{
    int64_t limit = host_view_int(host, INT64_MAX, "%s%s/memory.limit_in_bytes", mount, dir);
    return limit >= 0 && limit < NONE_V1 ? limit : INT64_MAX;
}

int64_t memory_limit(const struct host_view *host)
{
    static const char *const mounts_v1[] = {"/sys/fs/cgroup/memory", NULL};
    return cgroup_least(host, &(struct cgroup_least){.controller = "memory",
                                                     .mounts_v1 = mounts_v1,
                                                     .limit_v1 = limit_v1,
                                                     .limit_v2 = limit_v2});
}
