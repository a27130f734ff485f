/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_requeue.h"

#include "launcher/find_program.h"
#include "launcher/sched_check.h"
#include "muster/log.h"
#include "muster/mem.h"
#include "muster/outcome.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { DEADLINE_MS = 30 * 1000 }; /* a controller that is away is tried again for long */

struct requeue {
    uv_loop_t loop;
    uv_process_t process;
    uv_timer_t timer;
    bool is_late;
    int64_t exit_status;
    int signo;
};

/* One agent of the job; a batch script's only one. */
static bool is_ours(const struct options *opts)
{
    const struct sched *s = opts->sched;
    return opts->requeue_on != NULL && opts->requeue_on[0] != '\0' && s != NULL &&
           (s->is_alone || s->node_index <= 0);
}

int uv_requeue_check(const struct options *opts, char *const *env, struct mu_err *err)
{
    if (!is_ours(opts)) {
        return 0;
    }
    mu_autofree char *path = find_program("scontrol", env, err);
    return path != NULL
               ? 0
               : mu_err_wrap(err, "--requeue-on needs Slurm's scontrol on the job's first node");
}

static void on_exited(uv_process_t *process, int64_t exit_status, int signo)
{
    struct requeue *r = process->data;
    r->exit_status = exit_status;
    r->signo = signo;
    uv_close((uv_handle_t *)process, NULL);
    uv_close((uv_handle_t *)&r->timer, NULL);
}

static void on_late(uv_timer_t *timer)
{
    struct requeue *r = timer->data;
    r->is_late = true;
    uv_process_kill(&r->process, SIGKILL);
}

/* Run it to its end, its output on our standard error. Returns 0 if it exited with 0. */
static int run(char **argv, struct mu_err *err)
{
    struct requeue r = {0};
    int rc = uv_loop_init(&r.loop);
    if (rc != 0) {
        return mu_err_set(err, MU_E_SYSTEM, -rc, "make an event loop");
    }
    uv_stdio_container_t stdio[] = {{.flags = UV_IGNORE},
                                    {.flags = UV_INHERIT_FD, .data.fd = 2},
                                    {.flags = UV_INHERIT_FD, .data.fd = 2}};
    uv_process_options_t spec = {.exit_cb = on_exited,
                                 .file = argv[0],
                                 .args = argv,
                                 .stdio_count = MU_COUNT(stdio),
                                 .stdio = stdio};
    r.process.data = &r;
    r.timer.data = &r;
    uv_timer_init(&r.loop, &r.timer);
    rc = uv_spawn(&r.loop, &r.process, &spec);
    if (rc == 0) {
        uv_timer_start(&r.timer, on_late, DEADLINE_MS, 0);
    } else {
        uv_close((uv_handle_t *)&r.process, NULL);
        uv_close((uv_handle_t *)&r.timer, NULL);
    }
    uv_run(&r.loop, UV_RUN_DEFAULT);
    MU_REQUIRE(uv_loop_close(&r.loop) == 0);
    if (rc != 0) {
        return mu_err_set(err, MU_E_SYSTEM, -rc, "cannot be started");
    }
    if (r.is_late) {
        return mu_err_set(err, MU_E_TIMEOUT, 0, "did not end within %d s", DEADLINE_MS / 1000);
    }
    if (r.signo != 0) {
        return mu_err_set(err, MU_E_SYSTEM, 0, "was killed by signal %d", r.signo);
    }
    return r.exit_status == 0
               ? 0
               : mu_err_set(err, MU_E_SYSTEM, 0, "exited with %d", (int)r.exit_status);
}

void uv_requeue_after(const struct options *opts, char *const *env, int exit_status)
{
    struct signal_list list;
    sched_check_requeue_list(opts, &list);
    if (!is_ours(opts) || !signal_list_has(&list, exit_status - 128)) {
        return;
    }
    char name[32];
    char requeue[] = "requeue";
    char job[sizeof(opts->sched->job_id)];
    memcpy(job, opts->sched->job_id, sizeof(job));
    outcome_signal_name(exit_status - 128, name, sizeof(name));
    mu_log(MU_LOG_NOTICE, "%s ended the job: asking Slurm to start it again, scontrol requeue %s",
           name, job);
    /* Slurm's answer comes with its SIGTERM to this job. */
    signal(SIGTERM, SIG_IGN);
    struct mu_err err = MU_ERR_INIT;
    mu_autofree char *path = find_program("scontrol", env, &err);
    char *argv[] = {path, requeue, job, NULL};
    if (path == NULL || run(argv, &err) != 0) {
        mu_log(MU_LOG_ERROR,
               "scontrol requeue %s: %s: the job is not started again; only what sbatch submitted "
               "can be, and not with --no-requeue",
               job, err.text);
    } else {
        mu_log(MU_LOG_NOTICE, "Slurm will start job %s again", job);
    }
}
