/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd.h"

#include "launcher/cmd_check.h"
#include "launcher/cmd_launch.h"
#include "launcher/descriptors.h"
#include "launcher/dry_run.h"
#include "launcher/local_world.h"
#include "launcher/options_show.h"
#include "launcher/run_dir.h"
#include "launcher/sched_check.h"
#include "launcher/uv_agent.h"
#include "launcher/uv_requeue.h"
#include "launcher/worker_env.h"
#include "muster/clock.h"
#include "muster/lines.h"
#include "muster/log.h"

#include <string.h>
#include <unistd.h>

/* --print-config, --dry-run, instead of running: what there is to show, then the failure. */
static int show(const struct options *opts, const struct local_world *world, struct mu_err *err)
{
    struct mu_buf text = {0};
    struct mu_err unwritten = MU_ERR_INIT;
    int rc = 0;
    if (opts->print_config) {
        options_show(opts, &text);
    }
    if (opts->dry_run) {
        mu_buf_printf(&text, opts->print_config ? "\n" : "");
        rc = dry_run_show(opts, world, environ, &text, err);
    }
    if (cmd_print(&text, &unwritten) != 0 && rc == 0) {
        *err = unwritten;
        rc = -1;
    }
    mu_buf_fini(&text);
    return rc;
}

static void say_remarks(const struct options *opts)
{
    struct mu_buf text = {0};
    sched_check_remarks(opts, &text);
    struct mu_slice rest = {.ptr = (const char *)text.data, .len = text.len};
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        mu_log(MU_LOG_WARN, MU_SLICE_FMT, MU_SLICE_ARG(line));
    }
    mu_buf_fini(&text);
}

static void say_local_world(const struct options *opts, const struct local_world *world)
{
    if (world->is_ungiven && !opts->sched->is_echo) {
        mu_log(MU_LOG_NOTICE,
               "one worker%s: %s gave no GPUs, none can be used here, and --nproc-per-node was not "
               "given",
               opts->nnodes.max > 1 ? " on each node" : "", opts->sched->name);
    }
    if (world->source[0] != '\0') {
        mu_log(MU_LOG_INFO, "%lld worker%s on this node, by %s", (long long)opts->nproc_per_node,
               opts->nproc_per_node == 1 ? "" : "s", world->source);
    }
    if (world->binding == NULL || !mu_log_enabled(MU_LOG_INFO)) {
        return;
    }
    struct mu_buf map = {0};
    numa_binding_describe(world->binding, &map);
    struct mu_slice rest = {.ptr = (const char *)map.data, .len = map.len};
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        mu_log(MU_LOG_INFO, "--numa-binding %s, " MU_SLICE_FMT, world->binding->mode,
               MU_SLICE_ARG(line));
    }
    mu_buf_fini(&map);
}

/* What is accepted from torchrun's command line and does nothing here. */
static void say_ignored(const struct options *opts)
{
    if (opts->logs_specs != NULL) {
        mu_log(
            MU_LOG_WARN,
            "--logs-specs '%s' is ignored: muster runs no Python plugins; --redirects, --tee and "
            "--log-dir say where output goes",
            opts->logs_specs);
    }
}

static void say_limits(const struct options *opts)
{
    struct mu_buf warnings = {0};
    limit_list_say_short(&opts->limits, &warnings);
    struct mu_slice rest = {.ptr = (const char *)warnings.data, .len = warnings.len};
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        mu_log(MU_LOG_WARN, MU_SLICE_FMT, MU_SLICE_ARG(line));
    }
    mu_buf_fini(&warnings);
}

/* --check: is there anything against this job? What there is has been said then. */
static int check_first(const struct options *opts, char *const *args, int *ret_verdict,
                       struct mu_err *err)
{
    int64_t began_ms = mu_clock_ms();
    if (cmd_check_nodes(opts, args, ret_verdict, err) != 0) {
        return mu_err_wrap(err, "--check");
    }
    int64_t took_ms = mu_clock_ms() - began_ms;
    bool is_fit = *ret_verdict == 0;
    mu_log(is_fit ? MU_LOG_NOTICE : MU_LOG_ERROR, "--check: %s, after %lld.%lld s",
           is_fit ? "nothing speaks against the job" : "nothing is started",
           (long long)took_ms / 1000, (long long)took_ms % 1000 / 100);
    return 0;
}

static int start(const struct options *opts, char *const *args, const struct local_world *world,
                 int *ret_status, struct mu_err *err)
{
    int verdict = 0;
    if (opts->check && check_first(opts, args, &verdict, err) != 0) {
        return -1;
    }
    if (verdict != 0) {
        *ret_status = verdict;
        return 0;
    }
    return uv_agent_run(opts, environ, world->binding, ret_status, err);
}

int cmd_run(int argc, char **argv)
{
    struct options opts;
    int status;
    if (!cmd_begin(OPTIONS_RUN, argc, argv, &opts, &status)) {
        return status;
    }
    if (cmd_launch_is_wanted(&opts) && !opts.print_config && !opts.dry_run) {
        status = cmd_launch(&opts, argc, argv);
        cmd_end(&opts);
        return status;
    }
    if (!opts.rendezvous.is_standalone) {
        mu_log_set_node(opts.node_name);
    }
    struct mu_err err = MU_ERR_INIT;
    struct host_view host = host_view_of(environ);
    struct local_world world = {0};
    int rc = local_world_resolve(&opts, &host, &world, &err);
    if (rc == 0) {
        rc = worker_env_check(&opts, environ, &err);
    }
    if (rc == 0) {
        rc = uv_requeue_check(&opts, environ, &err);
    }
    if (rc == 0 && run_dir_check(opts.log_dir, &err) != 0) {
        rc = mu_err_wrap(&err, "--log-dir");
    }
    if (rc == 0 && (opts.print_config || opts.dry_run)) {
        rc = show(&opts, &world, &err);
        status = 0;
    } else if (rc == 0) {
        say_ignored(&opts);
        say_limits(&opts);
        say_remarks(&opts);
        say_local_world(&opts, &world);
        descriptors_raise_limit();
        rc = start(&opts, argv + 1, &world, &status, &err);
        if (rc == 0) {
            uv_requeue_after(&opts, environ, status);
        }
    }
    local_world_fini(&world);
    cmd_end(&opts);
    return rc == 0 ? status : cmd_fail(&err);
}
