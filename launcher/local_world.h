/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many workers this node gets where --nproc-per-node names devices instead of a number.
 * Blocks on the file system; not for the loop. Threading: any.
 */
#pragma once

#include "launcher/options.h"

/*
 * Replace a word in opts->nproc_per_node (enum options_nproc) by the number it stands for on this
 * machine. MU_E_USAGE if there is no such device.
 */
int local_world_resolve(struct options *opts, char *const *envp, struct mu_err *err);
