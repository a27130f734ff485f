/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cpu_quota.h"

#include "launcher/cgroup_least.h"
#include "muster/num.h"

#include <string.h>

static int64_t whole_cpus(int64_t quota, int64_t period)
{
    if (quota <= 0 || period <= 0) {
        return INT64_MAX;
    }
    return quota / period > 0 ? quota / period : 1;
}

/* "max 100000", or microseconds in a period of microseconds. */
static int64_t quota_v2(const struct host_view *host, const char *mount, const char *dir)
{
    char text[64];
    if (host_view_text(host, text, sizeof(text), "%s%s/cpu.max", mount, dir) != 0) {
        return INT64_MAX;
    }
    char *space = strchr(text, ' ');
    if (space == NULL) {
        return INT64_MAX;
    }
    *space = '\0';
    int64_t quota;
    int64_t period;
    struct mu_err ignored = MU_ERR_INIT;
    if (mu_parse_int(text, 1, INT64_MAX, &quota, &ignored) != 0 ||
        mu_parse_int(space + 1, 1, INT64_MAX, &period, &ignored) != 0) {
        return INT64_MAX; /* "max" is the rule */
    }
    return whole_cpus(quota, period);
}

static int64_t quota_v1(const struct host_view *host, const char *mount, const char *dir)
{
    return whole_cpus(host_view_int(host, -1, "%s%s/cpu.cfs_quota_us", mount, dir),
                      host_view_int(host, -1, "%s%s/cpu.cfs_period_us", mount, dir));
}

int64_t cpu_quota(const struct host_view *host)
{
    static const char *const mounts_v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct",
                                            NULL};
    return cgroup_least(host, &(struct cgroup_least){.controller = "cpu",
                                                     .mounts_v1 = mounts_v1,
                                                     .limit_v1 = quota_v1,
                                                     .limit_v2 = quota_v2});
}
