/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `muster run --dry-run` shows: who would get which ranks, what a worker would execute with
 * which environment. Nothing is started, connected to or made. Threading: any; blocks on the file
 * system.
 */
#pragma once

#include "launcher/local_world.h"
#include "muster/buf.h"

/*
 * Append that for this node of the job that `opts` (of OPTIONS_RUN, checked, workers counted)
 * describe. The ranks are those of the largest job allowed, with as many workers on each node as on
 * this one; a node without --node-rank is shown in the first place. `env` is what workers would
 * inherit. MU_E_USAGE if the workers could not be executed: no such program or script.
 */
int dry_run_show(const struct options *opts, const struct local_world *world, char *const *env,
                 struct mu_buf *text, struct mu_err *err);
