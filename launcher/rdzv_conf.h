/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torchrun's --rdzv-conf: KEY=VALUE[,KEY=VALUE...], spaces around each ignored, the last of equal
 * keys wins. Threading: any.
 */
#pragma once

#include "launcher/options.h"

/*
 * Set the options that the keys of opts->rdzv_conf mean, where nothing stronger does:
 *
 *     join_timeout, else timeout                      --join-timeout
 *     last_call_timeout                               --last-call
 *     keep_alive_interval * keep_alive_max_attempt    --node-timeout
 *
 * Values are seconds. The other keys of torchrun's backends, and any unknown one, are accepted.
 * MU_E_USAGE if the text is no list of that form or one of these values is no time.
 */
int rdzv_conf_apply(struct options *opts, struct mu_err *err);
