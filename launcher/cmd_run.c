/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

#include "launcher/descriptors.h"
#include "launcher/dry_run.h"
#include "launcher/local_world.h"
#include "launcher/options_show.h"
#include "launcher/uv_agent.h"
#include "muster/log.h"

#include <unistd.h>

/* --print-config, --dry-run: instead of running. What there is to show is shown, then the failure.
 */
static int show(const struct options *opts)
{
    struct mu_buf text = {0};
    struct mu_err err = MU_ERR_INIT;
    struct mu_err shown = MU_ERR_INIT;
    int rc = 0;
    if (opts->print_config) {
        options_show(opts, &text);
    }
    if (opts->dry_run) {
        mu_buf_printf(&text, opts->print_config ? "\n" : "");
        rc = dry_run_show(opts, environ, &text, &err);
    }
    if (cmd_print(&text, &shown) != 0 && rc == 0) {
        rc = -1;
        err = shown;
    }
    mu_buf_fini(&text);
    return rc == 0 ? 0 : cmd_fail(&err);
}

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
    if (opts.print_config || opts.dry_run) {
        return show(&opts);
    }
    descriptors_raise_limit();
    if (uv_agent_run(&opts, environ, &status, &err) != 0) {
        return cmd_fail(&err);
    }
    return status;
}
