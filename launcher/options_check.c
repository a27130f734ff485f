/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options_check.h"

#include "launcher/output_plan.h"
#include "launcher/rdzv_conf.h"
#include "launcher/sched_check.h"
#include "muster/names.h"
#include "muster/rand.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_given(const struct options *opts, enum options_id id)
{
    return opts->origin[id] != OPTIONS_FROM_DEFAULT;
}

/* Nodes of the job, those that stand by included. */
static int64_t most_nodes(const struct options *opts)
{
    return opts->nnodes.max + opts->spares;
}

static void stand_alone(struct options *opts)
{
    opts->rendezvous.is_standalone = true;
    opts->rendezvous.endpoint = (struct mu_endpoint){.host = "127.0.0.1", .port = 0};
}

/* --master-addr and --master-port. */
static int use_master(struct options *opts, struct mu_err *err)
{
    struct mu_endpoint *endpoint = &opts->rendezvous.endpoint;
    int64_t port = opts->master_port >= 0 ? opts->master_port : MU_DEFAULT_PORT;
    const char *host = opts->master_addr != NULL ? opts->master_addr : "127.0.0.1";
    if (mu_endpoint_parse(host, (uint16_t)port, endpoint, err) != 0) {
        return mu_err_wrap(err, "--master-addr");
    }
    if (opts->master_addr != NULL && opts->master_port >= 0 && endpoint->port != port) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--master-addr names port %u, but --master-port is %lld", endpoint->port,
                          (long long)port);
    }
    return 0;
}

/* On the scheduler's first node, on the first port of the job's that is free there. */
static int use_sched(struct options *opts, struct mu_err *err)
{
    const struct sched *s = opts->sched;
    struct options_rendezvous *r = &opts->rendezvous;
    if (mu_endpoint_parse(s->places[0], s->port_count > 0 ? s->ports[0] : MU_DEFAULT_PORT,
                          &r->endpoint, err) != 0) {
        return mu_err_wrap(err, "the first node, by %s", s->name);
    }
    r->ladder = s;
    r->is_elsewhere = s->node_index > 0;
    return 0;
}

static int find_coordinator(struct options *opts, struct mu_err *err)
{
    bool is_one_node = most_nodes(opts) == 1;
    const char *advice = opts->sched != NULL ? opts->sched->advice : NULL;
    if (opts->standalone && opts->spares > 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--standalone is for one node, but --spares asks for %lld more; give "
                          "--rdzv-endpoint HOST:PORT instead, the same on every node",
                          (long long)opts->spares);
    }
    if (opts->standalone && !is_one_node) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--standalone is for one node, but --nnodes allows %lld; give "
                          "--rdzv-endpoint HOST:PORT instead, the same on every node",
                          (long long)opts->nnodes.max);
    }
    if (opts->standalone) {
        stand_alone(opts);
    } else if (opts->rdzv_endpoint.host[0] != '\0') {
        opts->rendezvous.endpoint = opts->rdzv_endpoint;
    } else if (is_one_node ? opts->master_port >= 0 : opts->master_addr != NULL) {
        if (use_master(opts, err) != 0) {
            return -1;
        }
    } else if (is_one_node) {
        stand_alone(opts);
    } else if (opts->sched != NULL && opts->sched->place_count > 0) {
        return use_sched(opts, err);
    } else {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "a job of more than one node needs to know where the coordinator is: "
                          "give --rdzv-endpoint HOST:PORT, the same on every node%s%s",
                          advice != NULL ? "; " : "", advice != NULL ? advice : "");
    }
    if (opts->rendezvous.endpoint.port == 0 && !is_one_node) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "port 0, any free one, is for one node; %lld nodes must know the port",
                          (long long)most_nodes(opts));
    }
    if (opts->rendezvous.endpoint.port == 0) {
        stand_alone(opts);
    }
    return 0;
}

static int check_backend(const struct options *opts, struct mu_err *err)
{
    const char *backend = opts->rdzv_backend;
    if (strcmp(backend, "static") == 0 || strcmp(backend, "c10d") == 0) {
        return 0;
    }
    if (strncmp(backend, "etcd", 4) == 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--rdzv-backend '%s' is not supported: muster is its own coordinator and "
                          "needs no etcd; leave the option out and let --rdzv-endpoint name one of "
                          "the nodes",
                          backend);
    }
    return mu_err_set(err, MU_E_USAGE, 0, "--rdzv-backend: '%s' is neither static nor c10d",
                      backend);
}

static int check_node(struct options *opts, struct mu_err *err)
{
    /* torchrun's rule. Whole clusters set PET_NODE_RANK, for jobs on one of their nodes too. */
    bool is_beyond = opts->node_rank >= most_nodes(opts);
    if (is_beyond && opts->rendezvous.is_standalone) {
        opts->node_rank = -1;
    } else if (is_beyond && opts->spares > 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--node-rank %lld is too large: ranks count from 0, and --nnodes and "
                          "--spares allow %lld",
                          (long long)opts->node_rank, (long long)most_nodes(opts));
    } else if (is_beyond) {
        return mu_err_set(
            err, MU_E_USAGE, 0,
            "--node-rank %lld is too large: ranks count from 0, and --nnodes allows %lld",
            (long long)opts->node_rank, (long long)opts->nnodes.max);
    }
    if (opts->node_name == NULL || opts->node_name[0] == '\0') {
        opts->node_name = opts->local_addr;
        opts->origin[OPTION_node_name] =
            opts->local_addr != NULL ? OPTIONS_FROM_OTHER : OPTIONS_FROM_DEFAULT;
    }
    if (opts->node_name == NULL || opts->node_name[0] == '\0') {
        char *name = opts->own_node_name;
        if (gethostname(name, sizeof(opts->own_node_name) - 1) != 0 || name[0] == '\0') {
            snprintf(name, sizeof(opts->own_node_name), "node");
        }
        opts->node_name = name;
    }
    if (!mu_names_is_presentable(mu_slice_of(opts->node_name))) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--node-name: a name is 1 to %d printable ASCII characters, no spaces",
                          MU_MAX_NAME);
    }
    if (!mu_names_is_label(mu_slice_of(opts->role))) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--role: a name is 1 to %d bytes of UTF-8 without control characters",
                          MU_MAX_NAME);
    }
    return 0;
}

static int name_job(struct options *opts, struct mu_err *err)
{
    bool is_named = is_given(opts, OPTION_rdzv_id) && opts->rdzv_id[0] != '\0';
    if (opts->rendezvous.is_standalone && !is_named) {
        mu_rand_uuid(opts->own_rdzv_id);
        opts->rdzv_id = opts->own_rdzv_id;
    }
    if (opts->rdzv_id[0] == '\0') {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--rdzv-id is empty; give the job a name, the same on every node");
    }
    if (!mu_names_is_label(mu_slice_of(opts->rdzv_id))) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--rdzv-id: a name is 1 to %d bytes of UTF-8 without control characters",
                          MU_MAX_NAME);
    }
    return 0;
}

static int check_codes(const char *text, enum options_id id, const struct options *opts,
                       struct exit_codes *ret_codes, struct mu_err *err)
{
    char name[64];
    options_origin_name(id, opts->origin[id], name, sizeof(name));
    return exit_codes_parse(text != NULL ? text : "", ret_codes, err) == 0
               ? 0
               : mu_err_wrap(err, "%s", name);
}

static int check_exit_codes(struct options *opts, struct mu_err *err)
{
    if (check_codes(opts->stop_exit_codes, OPTION_stop_exit_codes, opts, &opts->stop_codes, err) !=
            0 ||
        check_codes(opts->retry_exit_codes, OPTION_retry_exit_codes, opts, &opts->retry_codes,
                    err) != 0) {
        return -1;
    }
    int both = exit_codes_common(&opts->stop_codes, &opts->retry_codes);
    if (both >= 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--stop-exit-codes and --retry-exit-codes both have %d: one ends the job "
                          "with it, the other starts it again",
                          both);
    }
    return 0;
}

static int check_limits(struct options *opts, struct mu_err *err)
{
    char name[64];
    options_origin_name(OPTION_limit, opts->origin[OPTION_limit], name, sizeof(name));
    return limit_list_parse(opts->limit, &opts->limits, err) == 0 ? 0
                                                                  : mu_err_wrap(err, "%s", name);
}

/* Where the nodes of a job meet, and what its workers get: what `muster run` and `muster check`
 * have in common. */
static int check_job(struct options *opts, struct mu_err *err)
{
    return check_backend(opts, err) != 0 || rdzv_conf_apply(opts, err) != 0 ||
                   sched_check_nodes(opts, err) != 0 || find_coordinator(opts, err) != 0 ||
                   check_node(opts, err) != 0 || check_limits(opts, err) != 0
               ? -1
               : name_job(opts, err);
}

/* Of a job; a check of its nodes needs no script. */
static int check_run(struct options *opts, struct mu_err *err)
{
    if (opts->run_path) {
        opts->no_python = false;
    }
    if (opts->log_dir != NULL && opts->log_dir[0] == '\0') {
        opts->log_dir = NULL; /* a variable that happens to be empty; torchrun takes it so, too */
    }
    if (opts->command == OPTIONS_RUN && (opts->script == NULL || opts->script[0] == '\0')) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "nothing to run: give a script, a module with -m, or a program with "
                          "--no-python");
    }
    if (opts->module && opts->no_python) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--module and --no-python contradict each other: a module needs Python");
    }
    if (check_job(opts, err) != 0 || check_exit_codes(opts, err) != 0 ||
        output_plan_check(opts, err) != 0) {
        return -1;
    }
    return sched_check_end(opts, err);
}

static int check_status(struct options *opts, struct mu_err *err)
{
    if (opts->status_rdzv_id != NULL && opts->status_rdzv_id[0] == '\0') {
        opts->status_rdzv_id = NULL;
    }
    if (opts->target == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "whose status? Give the coordinator's address as HOST:PORT");
    }
    if (mu_endpoint_parse(opts->target, MU_DEFAULT_PORT, &opts->target_address, err) != 0) {
        return -1;
    }
    if (opts->target_address.port == 0) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' names port 0, where nothing can be asked",
                          opts->target);
    }
    return 0;
}

static int check_serve(struct options *opts, struct mu_err *err)
{
    if (opts->listen.host[0] == '\0') {
        return mu_err_set(err, MU_E_USAGE, 0, "--listen is empty; give HOST:PORT");
    }
    if (opts->only_rdzv_id != NULL && opts->only_rdzv_id[0] == '\0') {
        opts->only_rdzv_id = NULL;
    }
    if (opts->only_rdzv_id != NULL && !mu_names_is_label(mu_slice_of(opts->only_rdzv_id))) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--rdzv-id: a name is 1 to %d bytes of UTF-8 without control characters",
                          MU_MAX_NAME);
    }
    return 0;
}

int options_check(struct options *opts, struct mu_err *err)
{
    switch (opts->command) {
    case OPTIONS_RUN:
        return check_run(opts, err);
    case OPTIONS_CHECK:
        return opts->fabric ? 0 : check_run(opts, err); /* MPI knows the nodes */
    case OPTIONS_SERVE:
        return check_serve(opts, err);
    case OPTIONS_STATUS:
        return check_status(opts, err);
    }
    return 0;
}
