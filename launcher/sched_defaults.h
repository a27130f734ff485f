/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between what was read (sched.h) and what options mean with it (options_check.h): the port that
 * the user chose, the slots of a host file, and a number of nodes that nobody says. Threading: any.
 */
#pragma once

#include "launcher/options.h"

/* Of a parsed command line, before options_check(). MU_E_USAGE if --nnodes is missing. */
int sched_defaults_apply(struct options *opts, struct sched *sched, struct mu_err *err);
