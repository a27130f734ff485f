/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cgroup_least.h"

#include "launcher/cgroup.h"
#include "muster/mem.h"

#include <string.h>

enum { MAX_CGROUPS = 8192 };

/*
 * The least of a group and those above it. In a container the path may be the one outside: then
 * nothing is there but at the top, which is the container's own group.
 */
static int64_t least_above(const struct host_view *host, const char *const *mounts,
                           const char *path, cgroup_limit_fn limit_of)
{
    int64_t least = INT64_MAX;
    for (; *mounts != NULL; mounts++) {
        mu_autofree char *dir = mu_strdup(strstr(path, "/..") == NULL ? path : "");
        for (;;) {
            size_t len = strlen(dir);
            if (len > 0 && dir[len - 1] == '/') {
                dir[len - 1] = '\0';
            }
            int64_t limit = limit_of(host, *mounts, dir);
            least = limit < least ? limit : least;
            char *slash = strrchr(dir, '/');
            if (slash == NULL) {
                break;
            }
            *slash = '\0';
        }
    }
    return least;
}

int64_t cgroup_least(const struct host_view *host, const struct cgroup_least *of)
{
    static const char *const mounts_v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};
    mu_autofree char *text = mu_alloc(MAX_CGROUPS);
    if (host_view_text(host, text, MAX_CGROUPS, "/proc/self/cgroup") != 0) {
        return INT64_MAX;
    }
    mu_autofree char *path_v2 = cgroup_path(text, NULL);
    mu_autofree char *path_v1 = cgroup_path(text, of->controller);
    int64_t v2 = path_v2 != NULL ? least_above(host, mounts_v2, path_v2, of->limit_v2) : INT64_MAX;
    int64_t v1 =
        path_v1 != NULL ? least_above(host, of->mounts_v1, path_v1, of->limit_v1) : INT64_MAX;
    return v1 < v2 ? v1 : v2;
}
