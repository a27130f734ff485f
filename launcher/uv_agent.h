/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent on its loop: carries out what the agent engine decides, with the connection to the
 * coordinator, the coordinator itself where this is the master node, the workers, the signals and
 * the one timer.
 *
 * Threading: runs a loop of its own; one at a time in a process.
 */
#pragma once

#include "launcher/numa_binding.h"
#include "launcher/options.h"

/*
 * Take part in the job that `opts` (of OPTIONS_RUN, checked) describe, until it is over. `env` is
 * what the workers inherit, `binding` where they run (NULL: anywhere). Returns 0 and the exit
 * status of the job, or -1 if this agent could not even begin.
 */
int uv_agent_run(const struct options *opts, char *const *env, const struct numa_binding *binding,
                 int *ret_exit_status, struct mu_err *err);
