/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/sched_defaults.h"

#include <stdio.h>

int sched_defaults_apply(struct options *opts, struct sched *sched, struct mu_err *err)
{
    if (sched->needs_nnodes && opts->origin[OPTION_nnodes] == OPTIONS_FROM_DEFAULT) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "%s does not say how many nodes this job has: give --nnodes N, the "
                          "`completions` of the Job, or --nnodes 1 if every pod trains alone",
                          sched->name);
    }
    if (opts->master_port > 0 && sched->port_count > 0) {
        sched->ports[0] = (uint16_t)opts->master_port;
        sched->port_count = 1;
    }
    char text[16];
    snprintf(text, sizeof(text), "%u", sched->slots);
    return sched->slots == 0
               ? 0
               : options_set(opts, OPTION_nproc_per_node, text, OPTIONS_FROM_SCHED, err);
}
