/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --requeue-on: when the job has ended because of one of these signals, the agent of node 0 asks
 * Slurm to start it again. Threading: any; runs a loop of its own.
 */
#pragma once

#include "launcher/options.h"

/*
 * Find out whether this agent could do it. MU_E_USAGE if the option is given, this is the agent to
 * do it, and there is no scontrol on PATH of `env`.
 */
int uv_requeue_check(const struct options *opts, char *const *env, struct mu_err *err);

/*
 * To be called when the job is over, with its exit status: does nothing unless a signal of the
 * option ended it and this is the agent to do it. Says what came of it. Slurm ends the job, this
 * process included, as soon as it has been asked: what is to be done is done before.
 */
void uv_requeue_after(const struct options *opts, char *const *env, int exit_status);
