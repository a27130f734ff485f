/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster run --launch` on its loop: carries out what launch_fanout.h decides, with one ssh process
 * for each host. Their output is relayed line by line; what is read from standard input goes
 * nowhere.
 *
 * Threading: runs a loop of its own; one at a time in a process.
 */
#pragma once

#include "launcher/launch_plan.h"
#include "launcher/options.h"

/*
 * Start the agents of `plan` and wait for their end. Returns 0 and the exit status that goes with
 * it, or -1 if nothing could be begun.
 */
int uv_launch_run(const struct launch_plan *plan, const struct options *opts,
                  const char *muster_path, int *ret_exit_status, struct mu_err *err);
