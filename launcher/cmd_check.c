/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/cmd_check.h"

#include "launcher/check_door.h"
#include "launcher/cmd.h"
#include "launcher/cmd_launch.h"
#include "launcher/cmd_mpi.h"
#include "launcher/descriptors.h"
#include "launcher/net_iface.h"
#include "launcher/uv_agent.h"
#include "muster/clock.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    JOIN_TIMEOUT_MS = 20 * 1000, /* unless --join-timeout says otherwise */
    NODE_TIMEOUT_MS = 15 * 1000, /* the same; a node that is busy with itself is not lost */
    GRACE_MS = 2 * 1000,
    PATH_LEN = 64,
};

int64_t cmd_check_join_timeout(const struct options *opts)
{
    bool is_given = opts->origin[OPTION_join_timeout_ms] != OPTIONS_FROM_DEFAULT;
    return is_given ? opts->join_timeout_ms : JOIN_TIMEOUT_MS;
}

/* What follows from the user's options for the job that is the check. */
static void make_job(const struct options *opts, struct options *job, char *run_id, size_t size)
{
    static const char suffix[] = "-check";
    *job = *opts; /* its own storage is borrowed from `opts`, which outlives it */
    job->command = OPTIONS_RUN;
    job->script = "/proc/self/exe";
    job->no_python = true;
    job->module = false;
    job->run_path = false;
    job->nproc_per_node = 1;
    job->numa_binding = "none";
    job->virtual_local_rank = false;
    job->keep_mpi_env = true; /* the worker reads from it what started this job */
    job->nnodes.max = opts->nnodes.max + opts->spares;
    job->nnodes.min = 1; /* who came is checked without those who did not */
    job->spares = 0;
    job->scale_up = "never";
    job->max_restarts = 0;
    job->grace_ms = GRACE_MS;
    job->gpu_free_timeout_ms = 0;
    job->log_dir = "/dev/null";
    job->redirects = "0";
    job->tee = "0";
    job->local_ranks_filter = NULL;
    job->duplicate_stdout_filters = NULL;
    job->duplicate_stderr_filters = NULL;
    job->event_log_handler = "null";
    job->report = NULL;
    job->join_timeout_ms = cmd_check_join_timeout(opts);
    if (opts->origin[OPTION_node_timeout_ms] == OPTIONS_FROM_DEFAULT) {
        job->node_timeout_ms = NODE_TIMEOUT_MS;
    }
    job->last_call_ms = job->join_timeout_ms;
    /* Another job than the one it is for: a node that is late with this must not end up there. */
    snprintf(run_id, size, "%.*s%s", (int)(size - sizeof(suffix)), opts->rdzv_id, suffix);
    job->rdzv_id = run_id;
}

/* By which port this node gets in; see check_door.h. */
static int choose_door(struct options *job, struct mu_err *err)
{
    struct options_rendezvous *z = &job->rendezvous;
    const struct net_iface_wish wish = {.names = job->iface, .networks = job->cidr};
    struct net_choice ignored;
    if (z->is_standalone || job->nnodes.max == 1) {
        return 0;
    }
    if (net_iface_choose_here(&wish, AF_INET, &ignored, err) != 0) {
        return -1; /* nothing is to be waited for then */
    }
    const struct sched *ladder = z->ladder;
    z->side_port = check_door_port(job->rdzv_id, z->endpoint.port);
    struct check_door_spec spec = {.host = z->endpoint.host,
                                   .ports = ladder != NULL ? ladder->ports : &z->endpoint.port,
                                   .port_count = ladder != NULL ? ladder->port_count : 1,
                                   .side_port = z->side_port,
                                   .patience_ms = job->join_timeout_ms / 2};
    int64_t began_ms = mu_clock_ms();
    enum check_door door = check_door_find(&spec);
    /* All nodes give up at about the same time. */
    job->join_timeout_ms -= mu_clock_ms() - began_ms;
    if (door == CHECK_DOOR_SIDE) {
        mu_log(MU_LOG_WARN,
               "cannot connect to the coordinator's port %u at %s; taking part by another, %u, "
               "which only checks have",
               z->endpoint.port, z->endpoint.host, z->side_port);
        z->endpoint.port = z->side_port;
        z->ladder = NULL;
    }
    return 0;
}

/* The agent replaces $ in arguments of workers; these are to arrive as they are. */
static char *keep_dollars(const char *text)
{
    struct mu_buf out = {0};
    for (const char *p = text; *p != '\0'; p++) {
        mu_buf_printf(&out, *p == '$' ? "$$" : "%c", *p);
    }
    return mu_buf_take_text(&out);
}

/*
 * "check-worker", the place of the verdict, the command, its options. Where the coordinator is was
 * found out, which MPI allows only once. Owned, with its texts.
 */
static char **worker_args(const char *path, const struct options *opts, char *const *args)
{
    size_t count = 0;
    while (args[count] != NULL) {
        count++;
    }
    char **list = mu_calloc(count + 8, sizeof(char *));
    size_t n = 0;
    list[n++] = mu_strdup("check-worker");
    list[n++] = mu_strdup(path);
    list[n++] = mu_strdup(opts->command == OPTIONS_RUN ? "run" : "check");
    if (opts->rendezvous.ladder != NULL) {
        char place[MU_MAX_NAME + 16];
        mu_endpoint_format(&opts->rendezvous.endpoint, place, sizeof(place));
        list[n++] = mu_strdup("--rdzv-endpoint");
        list[n++] = keep_dollars(place);
    }
    if (opts->sched == NULL) {
        list[n++] = mu_strdup("--scheduler");
        list[n++] = mu_strdup("none");
    }
    for (size_t i = 0; i < count; i++) {
        list[n++] = keep_dollars(args[i]);
    }
    return list;
}

static void free_args(char **list)
{
    for (char **p = list; *p != NULL; p++) {
        free(*p);
    }
    free(list);
}

/* What the worker wrote; 1 if it did not come to that. */
static int read_verdict(int fd, const struct options *job)
{
    char verdict = '\0';
    if (pread(fd, &verdict, 1, 0) == 1) {
        return verdict == '0' ? 0 : 1;
    }
    mu_log(MU_LOG_ERROR,
           "this node came when the check had begun without it, %lld s after the first: start it "
           "earlier, or give --join-timeout",
           (long long)job->join_timeout_ms / 1000);
    return 1;
}

int cmd_check_nodes(const struct options *opts, char *const *args, int *ret_verdict,
                    struct mu_err *err)
{
    char path[PATH_LEN];
    char run_id[MU_MAX_NAME + 1];
    struct options job;
    int status = 1;
    make_job(opts, &job, run_id, sizeof(run_id));
    if (choose_door(&job, err) != 0) {
        return -1;
    }
    /* Workers inherit no descriptors of ours, so this one has to have a name for them. */
    mu_autoclose int fd = memfd_create("muster-check", MFD_CLOEXEC);
    if (fd < 0) {
        return mu_err_set(err, MU_E_SYSTEM, errno, "make a place for the verdict");
    }
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    char **list = worker_args(path, opts, args);
    job.script_args = list;
    int rc = uv_agent_run(&job, environ, NULL, &status, err);
    if (rc == 0) {
        *ret_verdict = status != 0 ? status : read_verdict(fd, &job);
    }
    free_args(list);
    return rc;
}

int cmd_check(int argc, char **argv)
{
    struct options opts;
    int status;
    if (!cmd_begin(OPTIONS_CHECK, argc, argv, &opts, &status)) {
        return status;
    }
    if (cmd_launch_is_wanted(&opts)) {
        status = cmd_launch(&opts, argc, argv);
        cmd_end(&opts);
        return status;
    }
    if (!opts.rendezvous.is_standalone) {
        mu_log_set_node(opts.node_name);
    }
    struct mu_err err = MU_ERR_INIT;
    int rc = -1;
    descriptors_raise_limit();
    if (opts.fabric) {
        cmd_check_fabric(&opts, &err); /* on success this is another program */
    } else {
        rc = cmd_check_nodes(&opts, argv + 1, &status, &err);
    }
    cmd_end(&opts);
    return rc == 0 ? status : cmd_fail(&err);
}
