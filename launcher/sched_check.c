/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/sched_check.h"

#include "muster/lines.h"
#include "muster/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    KILL_MARGIN_MS = 5000, /* for what is to be done after SIGKILL to the workers */
};

static bool is_given(const struct options *opts, enum options_id id)
{
    return opts->origin[id] > OPTIONS_FROM_SCHED;
}

/* Every process of the job finds the same. */
static int refuse_all(struct options *opts, struct mu_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse_all(struct options *opts, struct mu_err *err, const char *fmt, ...)
{
    char text[sizeof(err->text)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    opts->is_echo = opts->sched->is_echo;
    return mu_err_set(err, MU_E_USAGE, 0, "%s", text);
}

/* Its word counts where no option does. */
static int set(struct options *opts, enum options_id id, const char *text, struct mu_err *err)
{
    return options_set(opts, id, text, OPTIONS_FROM_SCHED, err) == 0
               ? 0
               : mu_err_wrap(err, "what %s says", opts->sched->name);
}

/* ---- nodes ---- */

/* --nnodes and --spares as they were given. */
static void name_nodes(const struct options *opts, char *text, size_t size)
{
    const struct options_range *n = &opts->nnodes;
    int len = snprintf(text, size, "--nnodes %" PRId64, n->min);
    if (n->max != n->min) {
        len += snprintf(text + len, size - (size_t)len, ":%" PRId64, n->max);
    }
    if (opts->spares > 0) {
        snprintf(text + len, size - (size_t)len, " --spares %" PRId64, opts->spares);
    }
}

/* All of the nodes, less those that stand by. */
static int take_nodes(struct options *opts, struct mu_err *err)
{
    const struct sched *s = opts->sched;
    if (opts->spares >= s->node_count) {
        return refuse_all(opts, err,
                          "--spares %" PRId64 " leaves no node to work: the job has %u, by %s",
                          opts->spares, s->node_count, s->name);
    }
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, s->node_count - opts->spares);
    return set(opts, OPTION_nnodes, text, err);
}

/* There are no others, so a last call for them would only cost time. */
static void wait_for_no_more(struct options *opts)
{
    int64_t count = opts->sched->node_count;
    opts->nnodes.max = opts->nnodes.max < count ? opts->nnodes.max : count;
    int64_t left = count - opts->nnodes.max;
    opts->spares = opts->spares < left ? opts->spares : left;
}

static int check_started_nodes(struct options *opts, struct mu_err *err)
{
    const struct sched *s = opts->sched;
    if (s->node_count == 0) {
        return 0;
    }
    if (!is_given(opts, OPTION_nnodes)) {
        return take_nodes(opts, err);
    }
    if (s->node_count >= opts->nnodes.min && s->node_count <= opts->nnodes.max + opts->spares) {
        wait_for_no_more(opts);
        return 0;
    }
    char given[96];
    name_nodes(opts, given, sizeof(given));
    if (s->kind == SCHED_HOSTFILE) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "--hostfile %s has %u hosts, but %s was given; leave --nnodes out, or "
                          "correct the file",
                          opts->hostfile, s->node_count, given);
    }
    return refuse_all(opts, err,
                      "%s started muster on %u node%s, but %s was given; leave --nnodes out, or "
                      "give --standalone for a job of each node's own, or --scheduler none and "
                      "--rdzv-endpoint for nodes that %s does not know",
                      s->name, s->node_count, s->node_count == 1 ? "" : "s", given, s->name);
}

/* Within a job of several nodes, but on one of them only. */
static int check_alone(struct options *opts, struct mu_err *err)
{
    const struct sched *s = opts->sched;
    bool has_endpoint = opts->rdzv_endpoint.host[0] != '\0' || opts->master_addr != NULL;
    bool wants_one = is_given(opts, OPTION_nnodes) && opts->nnodes.max + opts->spares == 1;
    if (s->node_count <= 1 || has_endpoint || wants_one) {
        return 0;
    }
    return refuse_all(opts, err,
                      "%s gave %u nodes to job %s, but srun is missing: without it muster runs on "
                      "this node only; put `srun --ntasks=%u --ntasks-per-node=1` in front of "
                      "`muster`, or give --standalone to use this node alone",
                      s->name, s->node_count, s->job_id, s->node_count);
}

/* ---- workers ---- */

static int check_gpus(struct options *opts, struct mu_err *err)
{
    const struct sched *s = opts->sched;
    if (s->gpus == 0) {
        return 0;
    }
    char text[32];
    snprintf(text, sizeof(text), "%u", s->gpus);
    if (set(opts, OPTION_nproc_per_node, text, err) != 0) {
        return -1;
    }
    if (opts->nproc_per_node <= s->gpus || opts->oversubscribe) {
        return 0;
    }
    return mu_err_set(err, MU_E_USAGE, 0,
                      "--nproc-per-node %" PRId64 " is more than the %u GPU%s that %s gave to %s; "
                      "ask for more GPUs, leave the option out for one worker each, or give "
                      "--oversubscribe if workers are to share them",
                      opts->nproc_per_node, s->gpus, s->gpus == 1 ? "" : "s", s->name,
                      s->node_name[0] != '\0' ? s->node_name : "this node");
}

int sched_check_nodes(struct options *opts, struct mu_err *err)
{
    const struct sched *s = opts->sched;
    if (s == NULL) {
        return 0;
    }
    if (s->refusal[0] != '\0') {
        return refuse_all(opts, err, "%s", s->refusal);
    }
    int rc = s->is_alone ? check_alone(opts, err) : check_started_nodes(opts, err);
    if (rc != 0 || check_gpus(opts, err) != 0) {
        return -1;
    }
    if (s->node_name[0] != '\0' && set(opts, OPTION_node_name, s->node_name, err) != 0) {
        return -1;
    }
    return s->run_id[0] != '\0' ? set(opts, OPTION_rdzv_id, s->run_id, err) : 0;
}

/* ---- the end ---- */

/* --shutdown-timeout, or as much as the scheduler allows. */
static int fit_grace(struct options *opts, struct mu_err *err)
{
    int64_t kill_wait_ms = opts->sched != NULL ? opts->sched->kill_wait_ms : 0;
    if (is_given(opts, OPTION_shutdown_timeout_ms) && !is_given(opts, OPTION_grace_ms)) {
        opts->grace_ms = opts->shutdown_timeout_ms;
        opts->origin[OPTION_grace_ms] = OPTIONS_FROM_OTHER;
    }
    if (kill_wait_ms <= 0) {
        return 0;
    }
    int64_t half_ms = kill_wait_ms / 2;
    int64_t less_ms = kill_wait_ms - KILL_MARGIN_MS;
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64 "ms", less_ms > half_ms ? less_ms : half_ms);
    return set(opts, OPTION_grace_ms, text, err);
}

void sched_check_requeue_list(const struct options *opts, struct signal_list *ret_list)
{
    struct mu_buf ignored = {0};
    signal_list_parse("requeue-on", opts->requeue_on != NULL ? opts->requeue_on : "", ret_list,
                      &ignored);
    mu_buf_fini(&ignored);
}

/* A signal that is not heeded would cost the job its work: here a wrong name is no mere warning. */
static int check_requeue(struct options *opts, struct mu_err *err)
{
    if (opts->requeue_on == NULL || opts->requeue_on[0] == '\0') {
        return 0;
    }
    struct signal_list list;
    struct mu_buf warnings = {0};
    signal_list_parse("requeue-on", opts->requeue_on, &list, &warnings);
    struct mu_slice rest = {.ptr = (const char *)warnings.data, .len = warnings.len};
    struct mu_slice line;
    int rc = 0;
    if (lines_next(&rest, &line)) {
        rc = mu_err_set(err, MU_E_USAGE, 0, MU_SLICE_FMT, MU_SLICE_ARG(line));
    } else if (list.bits == 0) {
        rc = mu_err_set(err, MU_E_USAGE, 0, "--requeue-on: '%s' names no signal", opts->requeue_on);
    } else if (opts->sched == NULL || opts->sched->kind != SCHED_SLURM) {
        rc =
            mu_err_set(err, MU_E_USAGE, 0,
                       "--requeue-on asks Slurm to start the job again, but nothing says that this "
                       "is a job of Slurm's (--standalone and --scheduler none do not look); leave "
                       "the option out");
    }
    opts->is_echo = rc != 0 && opts->sched != NULL && opts->sched->is_echo;
    mu_buf_fini(&warnings);
    return rc;
}

int sched_check_end(struct options *opts, struct mu_err *err)
{
    return fit_grace(opts, err) != 0 ? -1 : check_requeue(opts, err);
}

void sched_check_remarks(const struct options *opts, struct mu_buf *text)
{
    const struct sched *s = opts->sched;
    if (s == NULL || s->is_echo) {
        return;
    }
    /* A signal of --requeue-on comes before that, early enough for the grace time, with luck. */
    bool has_warning = opts->requeue_on != NULL && opts->requeue_on[0] != '\0';
    if (s->kill_wait_ms > 0 && is_given(opts, OPTION_grace_ms) && !has_warning &&
        opts->grace_ms > s->kill_wait_ms) {
        mu_buf_printf(text,
                      "--grace is %.0f s, but when %s ends the job, it kills everything %.0f s "
                      "after SIGTERM (KillWait): workers do not get more\n",
                      (double)opts->grace_ms / 1e3, s->name, (double)s->kill_wait_ms / 1e3);
    }
    if (s->is_alone && s->node_name[0] == '\0' && s->hosts.count == 1) {
        mu_buf_printf(text,
                      "%s gave %s to job %s, but this process was not started there: running "
                      "here; put srun in front of muster to run there\n",
                      s->name, s->hosts.names[0], s->job_id);
    }
}
