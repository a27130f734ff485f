/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/uv_launch.h"

#include "launcher/descriptors.h"
#include "launcher/launch_explain.h"
#include "launcher/launch_fanout.h"
#include "launcher/signal_list.h"
#include "launcher/uv_launch_host.h"
#include "muster/log.h"
#include "muster/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 5000,    /* at the end, with a reader that reads nothing */
    LIMIT_MS = 120 * 1000, /* with one that is just slow */
    MAX_SIGNALS = 64,
};

struct uv_launch {
    uv_loop_t loop;
    const struct launch_plan *plan; /* borrowed */
    const char *muster_path;        /* borrowed */
    const char **names;             /* owned; of the hosts */
    struct launch_fanout *fanout;
    struct uv_launch_host **hosts; /* owned; each NULL until it is started */
    struct uv_out *out;            /* standard output; may be err_out */
    struct uv_out *err_out;
    struct mu_buf scratch;
    struct signal_list end_signals;
    uv_signal_t signals[MAX_SIGNALS];
    size_t signal_count;
    uv_timer_t timer;
    int exit_status;
    bool is_over;
    bool is_carrying_out;
};

static int64_t now_of(struct uv_launch *l)
{
    uv_update_time(&l->loop);
    return (int64_t)uv_now(&l->loop);
}

static void carry_out(struct uv_launch *l);

/* ---- events ---- */

static void on_hello(void *arg, size_t host)
{
    struct uv_launch *l = arg;
    launch_fanout_hello(l->fanout, host, now_of(l));
    carry_out(l);
}

static void on_ended(void *arg, size_t host, int exit_status, int signo)
{
    struct uv_launch *l = arg;
    const struct launch_end end = {.host = launch_plan_name(l->plan, host),
                                   .ssh = launch_plan_program(l->plan),
                                   .muster = l->muster_path,
                                   .exit_status = exit_status,
                                   .signo = signo,
                                   .said = uv_launch_host_said(l->hosts[host])};
    mu_autofree char *why = launch_explain(&end);
    launch_fanout_ended(l->fanout, host, exit_status, signo, why, now_of(l));
    carry_out(l);
}

static void on_signal(uv_signal_t *handle, int signo)
{
    struct uv_launch *l = handle->data;
    if (signal_list_has(&l->end_signals, signo)) {
        launch_fanout_signal(l->fanout, signo, now_of(l));
    } else {
        launch_fanout_pass(l->fanout, signo, now_of(l));
    }
    carry_out(l);
}

static void on_timer(uv_timer_t *timer)
{
    struct uv_launch *l = timer->data;
    launch_fanout_tick(l->fanout, now_of(l));
    carry_out(l);
}

/* ---- effects ---- */

static void start_host(struct uv_launch *l, size_t host)
{
    static const struct uv_launch_handlers handlers = {.hello = on_hello, .ended = on_ended};
    const struct uv_launch_sinks sinks = {.consoles = {l->out, l->err_out}, .scratch = &l->scratch};
    struct mu_err err = MU_ERR_INIT;
    char **argv = launch_plan_command(l->plan, host);
    l->hosts[host] = uv_launch_host_new(&l->loop, host, &sinks, &handlers, l);
    if (uv_launch_host_start(l->hosts[host], argv, &err) != 0) {
        mu_err_wrap(&err, "%s", launch_plan_name(l->plan, host));
        launch_fanout_ended(l->fanout, host, 1, 0, err.text, now_of(l));
    }
    free(argv);
}

static void send_order(struct uv_launch *l, size_t host)
{
    struct mu_buf frame = {0};
    struct mu_err err = MU_ERR_INIT;
    if (launch_plan_order(l->plan, host, &frame, &err) == 0) {
        uv_launch_host_send(l->hosts[host], frame.data, frame.len);
    } else {
        mu_log(MU_LOG_ERROR, "%s: %s", launch_plan_name(l->plan, host), err.text);
        uv_launch_host_kill(l->hosts[host]);
    }
    mu_buf_fini(&frame);
}

static void finish(struct uv_launch *l, int status)
{
    l->exit_status = status;
    l->is_over = true;
    for (size_t i = 0; i < launch_plan_count(l->plan); i++) {
        uv_launch_host_close(l->hosts[i]);
        l->hosts[i] = NULL;
    }
    for (size_t i = 0; i < l->signal_count; i++) {
        uv_close((uv_handle_t *)&l->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_out_unref(l->err_out);
    uv_out_unref(l->out);
}

static void carry_out_one(struct uv_launch *l, const struct launch_effect *e)
{
    uint8_t signo = (uint8_t)e->signo;
    switch (e->type) {
    case LAUNCH_START:
        start_host(l, e->host);
        break;
    case LAUNCH_BEGIN:
        send_order(l, e->host);
        break;
    case LAUNCH_SIGNAL:
        uv_launch_host_send(l->hosts[e->host], &signo, 1);
        break;
    case LAUNCH_KILL:
        uv_launch_host_kill(l->hosts[e->host]);
        break;
    case LAUNCH_SAY:
        mu_log(e->level, "%s", e->text);
        break;
    case LAUNCH_EXIT:
        finish(l, e->status);
        break;
    }
}

static void carry_out(struct uv_launch *l)
{
    const struct launch_effect *e;
    if (l->is_carrying_out) {
        return; /* an event raised by an effect: its own effects are at the end of the queue */
    }
    l->is_carrying_out = true;
    while (!l->is_over && (e = launch_fanout_take(l->fanout)) != NULL) {
        const struct launch_effect effect = *e;
        carry_out_one(l, &effect);
    }
    l->is_carrying_out = false;
    if (l->is_over) {
        return;
    }
    int64_t deadline = launch_fanout_deadline(l->fanout);
    int64_t wait = deadline - now_of(l);
    if (deadline == INT64_MAX) {
        uv_timer_stop(&l->timer);
    } else {
        uv_timer_start(&l->timer, on_timer, wait > 0 ? (uint64_t)wait : 0, 0);
    }
}

/* ---- life ---- */

static int watch_signals(struct uv_launch *l, const char *list, struct mu_err *err)
{
    struct mu_buf warnings = {0}; /* the agents say them */
    signal_list_parse("signals-to-handle", list, &l->end_signals, &warnings);
    mu_buf_fini(&warnings);
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        struct sigaction current;
        bool is_wanted =
            signal_list_has(&l->end_signals, signo) || signo == SIGUSR1 || signo == SIGUSR2;
        if (!is_wanted ||
            (sigaction(signo, NULL, &current) == 0 && current.sa_handler == SIG_IGN)) {
            continue; /* nohup: whoever ignored it meant it */
        }
        uv_signal_t *handle = &l->signals[l->signal_count++];
        uv_signal_init(&l->loop, handle);
        handle->data = l;
        int rc = uv_signal_start(handle, on_signal, signo);
        if (rc != 0) {
            return mu_err_set(err, MU_E_SYSTEM, -rc, "watch signal %d", signo);
        }
    }
    return 0;
}

static int open_outputs(struct uv_launch *l, struct mu_err *err)
{
    l->err_out = uv_out_new(&l->loop, STDERR_FILENO, err);
    if (l->err_out == NULL) {
        return -1;
    }
    l->out = l->err_out;
    if (!descriptors_are_one_file(STDOUT_FILENO, STDERR_FILENO)) {
        l->out = uv_out_new(&l->loop, STDOUT_FILENO, err);
    }
    return l->out != NULL ? 0 : -1;
}

static int run(struct uv_launch *l, const struct options *opts, struct mu_err *err)
{
    size_t count = launch_plan_count(l->plan);
    for (size_t i = 0; i < count; i++) {
        l->names[i] = launch_plan_name(l->plan, i);
    }
    const struct launch_fanout_config config = {
        .count = count,
        .names = l->names,
        .min_nodes = opts->origin[OPTION_nnodes] <= OPTIONS_FROM_SCHED ? (uint32_t)count
                                                                       : (uint32_t)opts->nnodes.min,
        .grace_ms = opts->grace_ms,
    };
    if (watch_signals(l, opts->signals_to_handle, err) != 0) {
        return -1;
    }
    mu_log_set_sink(uv_out_log_sink, l->err_out);
    l->fanout = launch_fanout_new(&config, now_of(l));
    carry_out(l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    mu_log_set_sink(NULL, NULL);
    uv_out_flush_blocking(l->out, PATIENCE_MS, LIMIT_MS);
    uv_out_flush_blocking(l->err_out, PATIENCE_MS, LIMIT_MS);
    return 0;
}

int uv_launch_run(const struct launch_plan *plan, const struct options *opts,
                  const char *muster_path, int *ret_exit_status, struct mu_err *err)
{
    size_t count = launch_plan_count(plan);
    struct uv_launch *l = mu_alloc(sizeof(*l));
    l->plan = plan;
    l->muster_path = muster_path;
    int rc = uv_loop_init(&l->loop);
    if (rc != 0) {
        free(l);
        return mu_err_set(err, MU_E_SYSTEM, -rc, "make the event loop");
    }
    l->names = mu_calloc(count, sizeof(*l->names));
    l->hosts = mu_calloc(count, sizeof(struct uv_launch_host *));
    uv_timer_init(&l->loop, &l->timer);
    l->timer.data = l;
    rc = open_outputs(l, err) == 0 ? run(l, opts, err) : -1;
    if (!l->is_over) {
        uv_close((uv_handle_t *)&l->timer, NULL);
        for (size_t i = 0; i < l->signal_count; i++) {
            uv_close((uv_handle_t *)&l->signals[i], NULL);
        }
    }
    *ret_exit_status = l->exit_status;
    if (l->out != l->err_out) {
        uv_out_close(l->out);
    }
    uv_out_close(l->err_out);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    MU_REQUIRE(uv_loop_close(&l->loop) == 0);
    launch_fanout_free(l->fanout);
    mu_buf_fini(&l->scratch);
    free(l->names);
    free((void *)l->hosts);
    free(l);
    return rc;
}
