/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What options and the word of the scheduler mean together: options that are given win, and where
 * they contradict it there is one sentence that says so. Part of options_check(). Threading: any.
 */
#pragma once

#include "launcher/options.h"
#include "launcher/signal_list.h"
#include "muster/buf.h"

/*
 * The nodes of the job, its name, this node's name and its workers: defaults from opts->sched.
 * MU_E_USAGE if muster was not started as it has to be, or the options ask for other nodes or for
 * more GPUs than there are; opts->is_echo then if another process of the job says the same.
 */
int sched_check_nodes(struct options *opts, struct mu_err *err);

/* How the job ends: --grace, --requeue-on. */
int sched_check_end(struct options *opts, struct mu_err *err);

/* What users should know that is no mistake: lines for `text`, each with its newline. */
void sched_check_remarks(const struct options *opts, struct mu_buf *text);

/* The signals of --requeue-on; an empty list without it. */
void sched_check_requeue_list(const struct options *opts, struct signal_list *ret_list);
