/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the control group grants. Blocks on the file system; not for the loop.
 * Threading: any.
 */
#pragma once

#include "launcher/host_view.h"

#include <stdint.h>

/*
 * The least limit of this process's control group and those above it, cgroup v2 and v1, in bytes.
 * INT64_MAX if there is none.
 */
int64_t memory_limit(const struct host_view *host);
