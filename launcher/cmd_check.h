/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `muster check`, and the check that `muster run --check` begins with.
 *
 * The nodes meet as those of any job do: an agent on each, with one worker, which is muster again
 * (`muster check-worker`, which no help shows). So what is looked at is what a worker would find:
 * its limits, its environment, its network. The workers do the work, the one of the first node
 * prints, and each tells its agent the verdict.
 *
 * Threading: the main thread.
 */
#pragma once

#include "launcher/options.h"
#include "muster/err.h"

#include <stdint.h>

/*
 * Check the nodes of the job that `opts` (of OPTIONS_RUN or OPTIONS_CHECK, checked) describe.
 * `args` are the options they came from, NULL-terminated. Returns 0 and the verdict: 0 if nothing
 * speaks against the job, else the exit status of this process, and what there is to say has been
 * said; or -1 if the check could not even begin.
 */
int cmd_check_nodes(const struct options *opts, char *const *args, int *ret_verdict,
                    struct mu_err *err);

/* How long it waits for nodes: --join-timeout, or less than a job would. */
int64_t cmd_check_join_timeout(const struct options *opts);

/* The worker. argv: its name, where the verdict goes, "run" or "check", options. */
int cmd_check_worker(int argc, char **argv);
