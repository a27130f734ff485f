/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of /proc/PID/cgroup, cgroups(7): lines "NUMBER:CONTROLLERS:PATH". Pure. Threading: any.
 */
#pragma once

#include "muster/buf.h"

/*
 * The path in the hierarchy of a controller of version 1 ("memory"); NULL for `controller`: in that
 * of version 2. Owned by the caller; NULL if there is no such line.
 */
char *cgroup_path(const char *text, const char *controller);

/* Is `name` one of the words of a list with commas between them? */
bool cgroup_has_controller(struct mu_slice list, const char *name);
