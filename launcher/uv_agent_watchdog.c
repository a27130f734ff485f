/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog torch expects of its launcher: whose file timer expires gets the signal it asked
 * for, and the job fails with that worker as the culprit. Whatever it does about the signal: a
 * worker that lives on is killed after the grace time, one that exits with 0 has failed.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/proc_tree.h"
#include "launcher/uv_file_timer.h"
#include "muster/env.h"
#include "muster/mem.h"

#include <signal.h>
#include <string.h>

struct uv_agent_watchdog {
    struct uv_agent *agent;
    struct uv_file_timer *timers; /* owned */
    uv_timer_t grace;             /* of the first worker that was condemned */
    char **causes;                /* owned; by local rank; NULL: not condemned */
    uint32_t count;
};

/* How a process belongs to the round. */
enum kinship {
    IS_WORKER,     /* it is a worker's own process */
    IS_DESCENDANT, /* a worker's own process is its ancestor */
    IS_ORPHAN,     /* it descends from the round, but from no worker any more */
    IS_STRANGER,   /* none of these, or there is no such process */
};

/* Whose process is it? *ret_rank is set for the first two. The shepherd makes sure once more. */
static enum kinship find(const struct uv_agent *a, pid_t pid, uint32_t *ret_rank)
{
    enum { MAX_GENERATIONS = 1024 }; /* of a chain that changes while it is followed */
    pid_t root = uv_procs_root(a->procs);
    pid_t ancestor = pid;
    for (int i = 0; i < MAX_GENERATIONS && ancestor > 1; i++) {
        if (ancestor == root) {
            return ancestor == pid ? IS_STRANGER : IS_ORPHAN;
        }
        for (uint32_t rank = 0; rank < a->config.slots; rank++) {
            if (uv_procs_pid(a->procs, rank) == ancestor) {
                *ret_rank = rank;
                return ancestor == pid ? IS_WORKER : IS_DESCENDANT;
            }
        }
        struct proc_stat st;
        ancestor = proc_tree_read_stat(ancestor, &st) == 0 ? st.ppid : 0;
    }
    return IS_STRANGER;
}

static bool is_enabled(const struct uv_agent *a)
{
    const char *value = mu_env_get(a->env, "TORCHELASTIC_ENABLE_FILE_TIMER");
    return value != NULL && strcmp(value, "1") == 0;
}

static void signal_worker(struct uv_agent *a, uint32_t rank, int signo)
{
    uv_procs_signal_process(a->procs, uv_procs_pid(a->procs, rank), signo);
}

static void on_grace_over(uv_timer_t *timer)
{
    struct uv_agent_watchdog *w = timer->data;
    if (w->agent->procs == NULL) {
        return;
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->causes[i] != NULL) {
            signal_worker(w->agent, i, SIGKILL);
        }
    }
}

/* The first expiry of a worker counts: it is the cause of all that follows. */
static void condemn(struct uv_agent_watchdog *w, uint32_t rank, char *cause)
{
    if (w->causes[rank] != NULL) {
        free(cause);
        return;
    }
    w->causes[rank] = cause;
    if (!uv_is_active((uv_handle_t *)&w->grace)) {
        uv_timer_start(&w->grace, on_grace_over, (uint64_t)w->agent->opts->grace_ms, 0);
    }
}

static void on_expired(void *arg, const struct file_timer_expiry *e)
{
    struct uv_agent_watchdog *w = arg;
    struct uv_agent *a = w->agent;
    if (a->procs == NULL) {
        return;
    }
    char signal_name[32];
    outcome_signal_name(e->signo, signal_name, sizeof(signal_name));
    mu_autofree char *what = mu_asprintf("file timer '%s' of pid %d expired after %.1f s", e->scope,
                                         (int)e->pid, (double)e->after_ms / 1e3);
    uint32_t rank = 0;
    enum kinship kinship = find(a, e->pid, &rank);
    if (kinship == IS_STRANGER) {
        /* Ended meanwhile, or never one of ours: a number that a worker wrote into a pipe. */
        mu_log(MU_LOG_WARN, "%s, but no worker of this node has such a process: nothing is done",
               what);
        return;
    }
    if (e->signo == 0) {
        mu_log(MU_LOG_NOTICE, "%s; it asked for no signal, so nothing is done", what);
        return;
    }
    mu_log(MU_LOG_WARN, "%s: sending it %s", what, signal_name);
    uv_procs_signal_process(a->procs, e->pid, e->signo);
    if (kinship == IS_ORPHAN) {
        return; /* whose it was is not known any more, so there is nobody to blame */
    }
    if (kinship == IS_DESCENDANT) {
        signal_worker(a, rank, e->signo);
    }
    condemn(w, rank, mu_asprintf("%s; it was sent %s", what, signal_name));
}

int uv_agent_watchdog_start(struct uv_agent *a, struct mu_err *err)
{
    if (!is_enabled(a)) {
        return 0;
    }
    if (a->watchdog == NULL) {
        const char *path = mu_env_get(a->env, "TORCHELASTIC_TIMER_FILE");
        struct uv_agent_watchdog *w = mu_alloc(sizeof(*w));
        w->timers = uv_file_timer_open(&a->loop, path != NULL && path[0] != '\0' ? path : NULL,
                                       mu_env_get(a->env, "TMPDIR"), on_expired, w, err);
        if (w->timers == NULL) {
            free(w);
            return -1;
        }
        w->agent = a;
        w->count = a->config.slots;
        w->causes = mu_calloc(w->count, sizeof(*w->causes));
        uv_timer_init(&a->loop, &w->grace);
        w->grace.data = w;
        a->watchdog = w;
        mu_log(MU_LOG_INFO, "file timers are taken at %s", uv_file_timer_path(w->timers));
    }
    uv_file_timer_clear(a->watchdog->timers);
    return 0;
}

const char *uv_agent_watchdog_path(const struct uv_agent *a)
{
    return a->watchdog != NULL ? uv_file_timer_path(a->watchdog->timers) : NULL;
}

char *uv_agent_watchdog_judge(struct uv_agent *a, uint32_t local_rank, pid_t pid,
                              struct outcome *outcome)
{
    struct uv_agent_watchdog *w = a->watchdog;
    if (w == NULL) {
        return NULL;
    }
    uv_file_timer_forget(w->timers, pid);
    char *cause = w->causes[local_rank];
    w->causes[local_rank] = NULL;
    if (cause != NULL && outcome_is_success(*outcome)) {
        *outcome = (struct outcome){.kind = OUTCOME_EXITED, .code = 1};
        char *full = mu_asprintf("%s, and exited with status 0 then, which counts as 1", cause);
        free(cause);
        return full;
    }
    return cause;
}

void uv_agent_watchdog_end_round(struct uv_agent *a)
{
    struct uv_agent_watchdog *w = a->watchdog;
    if (w == NULL) {
        return;
    }
    uv_timer_stop(&w->grace);
    uv_file_timer_clear(w->timers);
    for (uint32_t i = 0; i < w->count; i++) {
        free(w->causes[i]);
        w->causes[i] = NULL;
    }
}

void uv_agent_watchdog_delay(struct uv_agent *a, int64_t span_ms)
{
    if (a->watchdog != NULL) {
        uv_file_timer_delay(a->watchdog->timers, span_ms);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct uv_agent_watchdog *w = handle->data;
    free(w->causes);
    free(w);
}

void uv_agent_watchdog_close(struct uv_agent *a)
{
    struct uv_agent_watchdog *w = a->watchdog;
    if (w == NULL) {
        return;
    }
    uv_agent_watchdog_end_round(a);
    uv_file_timer_close(w->timers);
    uv_close((uv_handle_t *)&w->grace, on_closed);
    a->watchdog = NULL;
}
