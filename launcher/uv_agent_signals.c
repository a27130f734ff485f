/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What signals mean to the agent: the listed ones end the job, SIGUSR1 and SIGUSR2 are the
 * workers', SIGTSTP (Ctrl-Z) stops everything on this node. All others keep what they do by
 * default: most end the agent, and the shepherd then kills the workers.
 */
#include "launcher/uv_agent_impl.h"

#include "launcher/reaper.h"
#include "launcher/sched_check.h"
#include "launcher/signal_list.h"
#include "muster/lines.h"
#include "muster/mem.h"

#include <signal.h>
#include <string.h>

static void on_end_signal(uv_signal_t *handle, int signo)
{
    struct uv_agent *a = handle->data;
    agent_signal(a->engine, signo, uv_agent_now(a));
    uv_agent_carry_out(a);
}

static void on_pass_signal(uv_signal_t *handle, int signo)
{
    struct uv_agent *a = handle->data;
    agent_pass(a->engine, signo, uv_agent_now(a));
    uv_agent_carry_out(a);
}

/*
 * Stop this process as it would have stopped without a handler: the shell sees it, and where nobody
 * could continue it (an orphaned process group, pid 1) the kernel does not stop it at all. Returns
 * when it is continued. The one call that blocks the loop on purpose.
 */
static void stop_here(uv_signal_t *handle, uv_signal_cb cb)
{
    uv_signal_stop(handle);
    raise(SIGTSTP);
    uv_signal_start(handle, cb, SIGTSTP);
}

/*
 * The terminal stops its foreground process group, and the workers are not in it. A node that stops
 * is lost to the others, so only one that is the whole job does.
 */
static void on_stop_signal(uv_signal_t *handle, int signo)
{
    struct uv_agent *a = handle->data;
    (void)signo;
    if (!uv_agent_is_whole_job(a)) {
        mu_log(MU_LOG_NOTICE,
               "SIGTSTP (Ctrl-Z): not stopping, because the coordinator would give this node up "
               "after %.1f s; to stop nevertheless: kill -STOP %d",
               (double)a->opts->node_timeout_ms / 1e3, (int)a->config.pid);
        return;
    }
    if (a->procs != NULL) {
        uv_procs_signal(a->procs, SIGSTOP);
    }
    uint64_t since_ns = uv_hrtime();
    stop_here(handle, on_stop_signal);
    uv_agent_watchdog_delay(a, (int64_t)((uv_hrtime() - since_ns) / 1000000));
    if (a->procs != NULL) {
        uv_procs_signal(a->procs, SIGCONT);
    }
}

/* Between rounds too: as pid 1 of a container it inherits the orphans of others. */
static void on_child(uv_signal_t *handle, int signo)
{
    (void)handle;
    (void)signo;
    reaper_reap();
}

static int watch(struct uv_agent *a, int signo, uv_signal_cb cb, struct mu_err *err)
{
    struct sigaction current;
    if (sigaction(signo, NULL, &current) == 0 && current.sa_handler == SIG_IGN) {
        return 0; /* nohup, or a shell's background job: whoever ignored it meant it */
    }
    MU_REQUIRE(a->signal_count < MU_COUNT(a->signals));
    uv_signal_t *handle = &a->signals[a->signal_count++];
    uv_signal_init(&a->loop, handle);
    handle->data = a;
    int rc = uv_signal_start(handle, cb, signo);
    if (rc != 0) {
        return mu_err_set(err, MU_E_SYSTEM, -rc, "watch signal %d", signo);
    }
    return 0;
}

static void say_each(const struct mu_buf *lines)
{
    struct mu_slice rest = {.ptr = (const char *)lines->data, .len = lines->len};
    struct mu_slice line;
    while (lines_next(&rest, &line)) {
        mu_log(MU_LOG_WARN, MU_SLICE_FMT, MU_SLICE_ARG(line));
    }
}

int uv_agent_signals_watch(struct uv_agent *a, struct mu_err *err)
{
    struct signal_list end;
    struct mu_buf warnings = {0};
    signal_list_parse("signals-to-handle", a->opts->signals_to_handle, &end, &warnings);
    say_each(&warnings);
    mu_buf_fini(&warnings);
    struct signal_list requeue;
    sched_check_requeue_list(a->opts, &requeue);
    end.bits |= requeue.bits;
    /* In the background of a terminal with tostop its messages must not stop it. */
    signal(SIGTTOU, SIG_IGN);
    int rc = 0;
    for (int signo = 1; signo <= SIGRTMAX && rc == 0; signo++) {
        if (signal_list_has(&end, signo)) {
            rc = watch(a, signo, on_end_signal, err);
        } else if (signo == SIGUSR1 || signo == SIGUSR2) {
            rc = watch(a, signo, on_pass_signal, err);
        } else if (signo == SIGTSTP) {
            rc = watch(a, signo, on_stop_signal, err);
        } else if (signo == SIGCHLD) {
            rc = watch(a, signo, on_child, err);
        }
    }
    reaper_reap(); /* who ended before */
    return rc;
}

/* Would it kill this process, and nobody who waits at a terminal means it to? */
static bool is_for_the_job(const uv_signal_t *handle)
{
    return (handle->signal_cb == on_end_signal && handle->signum != SIGINT &&
            handle->signum != SIGQUIT) ||
           handle->signal_cb == on_pass_signal;
}

void uv_agent_signals_close(struct uv_agent *a)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    for (size_t i = 0; i < a->signal_count; i++) {
        int signo = a->signals[i].signum;
        bool is_over = is_for_the_job(&a->signals[i]);
        uv_close((uv_handle_t *)&a->signals[i], NULL);
        if (is_over) {
            signal(signo, SIG_IGN);
        }
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    a->signal_count = 0;
}
