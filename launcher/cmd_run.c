/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

#include "launcher/descriptors.h"
#include "launcher/local_world.h"
#include "launcher/uv_agent.h"
#include "muster/log.h"

#include <unistd.h>

int cmd_run(int argc, char **argv)
{
    struct options opts;
    int status;
    if (!cmd_begin(OPTIONS_RUN, argc, argv, &opts, &status)) {
        return status;
    }
    if (!opts.rendezvous.is_standalone) {
        mu_log_set_node(opts.node_name);
    }
    struct mu_err err = MU_ERR_INIT;
    if (local_world_resolve(&opts, environ, &err) != 0) {
        return cmd_fail(&err);
    }
    descriptors_raise_limit();
    if (uv_agent_run(&opts, environ, &status, &err) != 0) {
        return cmd_fail(&err);
    }
    return status;
}
