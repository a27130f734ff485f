/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cpu_quota.h"

#include "launcher/cgroup.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <string.h>

enum { MAX_CGROUPS = 8192 };

/* CPUs of one control group: `dir` below `mount`. */
typedef int64_t (*quota_fn)(const struct host_view *host, const char *mount, const char *dir);

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

/*
 * The least of a group and those above it. In a container the path may be the one outside: then
 * nothing is there but at the top, which is the container's own group.
 */
static int64_t least_above(const struct host_view *host, const char *const *mounts,
                           const char *path, quota_fn quota_of)
{
    int64_t least = INT64_MAX;
    for (; *mounts != NULL; mounts++) {
        mu_autofree char *dir = mu_strdup(strstr(path, "/..") == NULL ? path : "");
        for (;;) {
            size_t len = strlen(dir);
            if (len > 0 && dir[len - 1] == '/') {
                dir[len - 1] = '\0';
            }
            int64_t quota = quota_of(host, *mounts, dir);
            least = quota < least ? quota : least;
            char *slash = strrchr(dir, '/');
            if (slash == NULL) {
                break;
            }
            *slash = '\0';
        }
    }
    return least;
}

int64_t cpu_quota(const struct host_view *host)
{
    static const char *const mounts_v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};
    static const char *const mounts_v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct",
                                            NULL};
    mu_autofree char *text = mu_alloc(MAX_CGROUPS);
    if (host_view_text(host, text, MAX_CGROUPS, "/proc/self/cgroup") != 0) {
        return INT64_MAX;
    }
    mu_autofree char *path_v2 = cgroup_path(text, NULL);
    mu_autofree char *path_v1 = cgroup_path(text, "cpu");
    int64_t v2 = path_v2 != NULL ? least_above(host, mounts_v2, path_v2, quota_v2) : INT64_MAX;
    int64_t v1 = path_v1 != NULL ? least_above(host, mounts_v1, path_v1, quota_v1) : INT64_MAX;
    return v1 < v2 ? v1 : v2;
}
