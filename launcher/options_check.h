/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options mean together: contradictions, and what follows from them. Threading: any.
 */
#pragma once

#include "launcher/options.h"

/*
 * Judge parsed options and fill in what they leave open:
 *
 * run     opts->rendezvous: where the coordinator is. The first that was given counts:
 *         --standalone, --rdzv-endpoint, --master-addr and --master-port (either alone, with
 *         127.0.0.1 or 29500 for the other); with none of them a job of one node stands alone, and
 *         so does one whose endpoint has port 0. A job that stands alone and was given no
 *         --rdzv-id gets a random UUID. opts->node_name: the host name unless it was given.
 * check   the same, but nothing with --fabric: MPI knows the nodes.
 * serve   an empty only_rdzv_id is NULL: any job.
 * status  opts->target_address; an empty status_rdzv_id is NULL: all jobs.
 *
 * MU_E_USAGE, with a sentence for the user, if they cannot be.
 */
int options_check(struct options *opts, struct mu_err *err);
