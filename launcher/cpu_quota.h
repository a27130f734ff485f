/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much CPU time the control group grants. Blocks on the file system; not for the loop.
 * Threading: any.
 */
#pragma once

#include "launcher/host_view.h"

#include <stdint.h>

/*
 * The least quota of this process's control group and those above it, cgroup v2 and v1, in whole
 * CPUs: rounded down, for a worker that gets no whole CPU holds the others up, but at least 1.
 * INT64_MAX if there is none.
 */
int64_t cpu_quota(const struct host_view *host);
