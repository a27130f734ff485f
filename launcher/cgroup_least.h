/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A limit counts in every control group above ours as well: the least of all of them. Blocks on the
 * file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/host_view.h"

#include <stdint.h>

/* What one control group allows: that of `dir` below `mount`. INT64_MAX: it has no limit. */
typedef int64_t (*cgroup_limit_fn)(const struct host_view *host, const char *mount,
                                   const char *dir);

struct cgroup_least {
    const char *controller;       /* of version 1 */
    const char *const *mounts_v1; /* where that may be, NULL at the end */
    cgroup_limit_fn limit_v1;
    cgroup_limit_fn limit_v2;
};

/* The least for this process, of both versions. INT64_MAX if there is no limit. */
int64_t cgroup_least(const struct host_view *host, const struct cgroup_least *of);
