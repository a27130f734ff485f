/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/agent_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"

#include <stdarg.h>

const char *agent_state_name(enum agent_state state)
{
    static const char *const names[] = {
        [AGENT_CONNECTING] = "connecting", [AGENT_WAITING] = "waiting", [AGENT_RUNNING] = "running",
        [AGENT_STOPPING] = "stopping",     [AGENT_DONE] = "done",
    };
    return names[state];
}

struct agent *agent_new(const struct agent_config *config)
{
    MU_REQUIRE(config->agent_id != 0 && config->slots > 0);
    struct agent *a = mu_alloc(sizeof(*a));
    a->config = *config;
    a->pids = mu_calloc(config->slots, sizeof(uint32_t));
    a->exits = mu_calloc(config->slots, sizeof(a->exits[0]));
    if (config->ladder != NULL) {
        a->ladder = *config->ladder;
    }
    a->lease_ms = INT64_MAX;
    a->timeout_ms = config->node_timeout_ms;
    a->next_heartbeat_ms = INT64_MAX;
    a->welcome_ms = INT64_MAX;
    a->retry_ms = INT64_MAX;
    a->retry_wait_ms = AGENT_RETRY_FIRST_MS;
    a->link_deadline_ms = INT64_MAX;
    a->kill_ms = INT64_MAX;
    a->end_ms = INT64_MAX;
    return a;
}

void agent_free(struct agent *a)
{
    if (a == NULL) {
        return;
    }
    for (uint32_t i = 0; i < a->effect_count; i++) {
        free(a->effects[i].text);
    }
    free(a->effects);
    agent_report_forget(a);
    free(a->exits);
    free(a->pids);
    free(a);
}

enum agent_state agent_get_state(const struct agent *a)
{
    return a->state;
}

/* ---- effects ---- */

struct agent_effect *agent_effect_add(struct agent *a, enum agent_effect_kind kind)
{
    if (a->effect_count == a->effect_cap) {
        a->effect_cap = a->effect_cap > 0 ? 2 * a->effect_cap : 16;
        a->effects = mu_realloc(a->effects, a->effect_cap * sizeof(a->effects[0]));
    }
    struct agent_effect *e = &a->effects[a->effect_count++];
    *e = (struct agent_effect){.kind = kind};
    return e;
}

const struct agent_effect *agent_take(struct agent *a)
{
    if (a->effect_head > 0) {
        free(a->effects[a->effect_head - 1].text);
        a->effects[a->effect_head - 1].text = NULL;
    }
    if (a->effect_head == a->effect_count) {
        a->effect_head = 0;
        a->effect_count = 0;
        return NULL;
    }
    return &a->effects[a->effect_head++];
}

struct agent_effect *agent_say(struct agent *a, enum mu_log_level level, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct agent_effect *e = agent_effect_add(a, AGENT_LOG);
    e->level = level;
    e->text = mu_strdup(text);
    return e;
}

void agent_tell(struct agent *a, const struct ctl_msg *msg)
{
    if (a->is_linked) {
        agent_effect_add(a, AGENT_SEND)->msg = *msg;
    }
}

void agent_goto(struct agent *a, enum agent_state state)
{
    if (a->state != state) {
        agent_say(a, MU_LOG_DEBUG, "agent: %s -> %s", agent_state_name(a->state),
                  agent_state_name(state));
        a->state = state;
    }
}

void agent_leave_with(struct agent *a, int exit_status)
{
    if (a->state != AGENT_DONE) {
        agent_goto(a, AGENT_DONE);
        agent_effect_add(a, AGENT_EXIT)->exit_status = exit_status;
    }
}

void agent_give_up(struct agent *a, int exit_status, int64_t grace_ms)
{
    a->is_lost = true;
    a->exit_status = a->signo != 0 ? 128 + a->signo : exit_status;
    a->retry_ms = INT64_MAX;
    a->link_deadline_ms = INT64_MAX;
    a->lease_ms = INT64_MAX;
    if (a->has_workers) {
        agent_round_stop(a, SIGTERM, grace_ms);
    } else {
        agent_leave_with(a, a->exit_status);
    }
}

void agent_start(struct agent *a, int64_t now_ms)
{
    a->now_ms = now_ms;
    agent_link_begin(a);
}

/* ---- messages ---- */

static void on_stop(struct agent *a, const struct ctl_stop *s)
{
    if (!a->has_workers || s->round != a->assignment.round) {
        return; /* it crossed our STOPPED on the way */
    }
    agent_say(a, MU_LOG_INFO, "stopping round %u: " MU_SLICE_FMT, s->round,
              MU_SLICE_ARG(s->reason));
    int signo = s->signo >= 1 && s->signo <= SIGRTMAX ? s->signo : SIGTERM;
    int64_t grace_ms = s->grace_ms >= 0 ? s->grace_ms : 0;
    agent_round_stop(a, signo, grace_ms < MU_MAX_SPAN_MS ? grace_ms : MU_MAX_SPAN_MS);
}

static void on_end(struct agent *a, const struct ctl_end *e)
{
    if (e->text.len > 0) {
        if (e->is_report) {
            struct agent_effect *print = agent_effect_add(a, AGENT_PRINT);
            print->text = mu_slice_dup(e->text);
        } else {
            agent_say(a, e->exit_status == 0 ? MU_LOG_NOTICE : MU_LOG_ERROR, MU_SLICE_FMT,
                      MU_SLICE_ARG(e->text));
        }
    }
    struct mu_buf both = {0};
    mu_buf_append(&both, e->text.ptr, e->text.len);
    mu_buf_append(&both, e->report.ptr, e->report.len);
    mu_buf_append_u8(&both, '\0');
    struct agent_effect *over = agent_effect_add(a, AGENT_OVER);
    over->text = (char *)both.data;
    over->msg = (struct ctl_msg){.type = CTL_END, .end = *e};
    over->msg.end.text.ptr = over->text;
    over->msg.end.report.ptr = over->text + e->text.len;
    a->has_end = true;
    a->is_lost = true;
    a->exit_status = e->exit_status >= 0 && e->exit_status <= 255 ? e->exit_status : 1;
    if (a->has_workers) {
        agent_link_close(a); /* there is nobody left to report to */
        agent_round_end(a);  /* which we came back with */
    } else {
        agent_leave_with(a, a->exit_status);
    }
}

void agent_message(struct agent *a, const struct ctl_msg *msg, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->state == AGENT_DONE || a->has_end || !a->is_linked) {
        return;
    }
    if (!agent_is_joined(a) && msg->type != CTL_WELCOME && msg->type != CTL_REFUSED) {
        return;
    }
    switch (msg->type) {
    case CTL_WELCOME:
        if (!agent_is_joined(a)) {
            agent_link_welcome(a, &msg->welcome);
        }
        return;
    case CTL_REFUSED:
        agent_link_refused(a, &msg->refused);
        return;
    case CTL_WAITING:
        agent_say(a, MU_LOG_NOTICE, MU_SLICE_FMT, MU_SLICE_ARG(msg->waiting.text));
        return;
    case CTL_ASSIGN:
        agent_round_assign(a, &msg->assign);
        return;
    case CTL_STOP:
        on_stop(a, &msg->stop);
        return;
    case CTL_END:
        on_end(a, &msg->end);
        return;
    case CTL_WHOSE:
        agent_round_whose(a, &msg->whose);
        return;
    case CTL_HEARTBEAT:
        agent_link_answered(a, msg->heartbeat.beat);
        return;
    case CTL_HELLO:
    case CTL_STARTED:
    case CTL_EXITED:
    case CTL_STOPPED:
    case CTL_LEAVE:
    case CTL_OWNED:
    case CTL_STATUS:
    case CTL_STATUS_REPLY:
        return;
    }
}

/* ---- signals and time ---- */

/*
 * Is it the same wish once more? At a job's time limit Slurm sends SIGTERM twice within
 * milliseconds, a closing terminal may send SIGHUP twice, systemd SIGTERM and SIGHUP: none of them
 * wants to cut the grace time short. Who types a key means it.
 */
static bool is_echo(const struct agent *a, int signo)
{
    bool is_typed = signo == SIGINT || signo == SIGQUIT;
    return a->signo != 0 && !is_typed && a->now_ms < a->signo_ms + AGENT_ECHO_MS;
}

void agent_signal(struct agent *a, int signo, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->state == AGENT_DONE || is_echo(a, signo)) {
        return;
    }
    char name[32];
    outcome_signal_name(signo, name, sizeof(name));
    bool is_second = a->signo != 0;
    if (!is_second) {
        a->signo = signo;
        a->signo_ms = now_ms;
        a->exit_status = a->has_end ? a->exit_status : 128 + signo;
    }
    a->stop_signals++;
    if (!a->has_workers && (a->stop_signals > 3 || !agent_is_joined(a))) {
        agent_leave_with(a, a->exit_status);
        return;
    }
    agent_tell(a, &(struct ctl_msg){
                      .type = CTL_LEAVE,
                      .leave = {.signo = is_second ? SIGKILL : signo, .reason = mu_slice_of("")}});
    if (!a->has_workers) {
        /* A job that does not need us lets us go at once; one that does is stopped first. */
        agent_say(a, MU_LOG_NOTICE, is_second ? "%s again: killing the job now" : "%s: leaving",
                  name);
        /* A third still gives other nodes a moment: with this one the coordinator may go. */
        int64_t kill_wait_ms = a->stop_signals > 2 ? AGENT_LAST_WAIT_MS : AGENT_KILL_WAIT_MS;
        a->end_ms = a->now_ms + (is_second ? kill_wait_ms : AGENT_END_WAIT_MS + a->config.grace_ms);
    } else if (is_second) {
        agent_say(a, MU_LOG_NOTICE, "%s again: killing the workers now", name);
        agent_round_stop(a, SIGKILL, 0);
    } else {
        agent_say(a, MU_LOG_NOTICE, "%s: stopping the whole job, SIGKILL in %.1f s; again for now",
                  name, (double)a->config.grace_ms / 1e3);
        agent_round_stop(a, signo, a->config.grace_ms);
    }
}

void agent_pass(struct agent *a, int signo, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->state == AGENT_DONE) {
        return;
    }
    char name[32];
    outcome_signal_name(signo, name, sizeof(name));
    if (a->has_workers) {
        agent_say(a, MU_LOG_INFO, "%s: passed to the workers of this node", name);
        agent_effect_add(a, AGENT_PASS)->signo = signo;
    } else {
        agent_say(a, MU_LOG_NOTICE, "%s: there is no worker to pass it to", name);
    }
}

void agent_tick(struct agent *a, int64_t now_ms)
{
    a->now_ms = now_ms;
    if (a->state != AGENT_DONE) {
        agent_link_tick(a);
    }
    if (a->state != AGENT_DONE) {
        agent_round_tick(a);
    }
    if (a->state != AGENT_DONE && now_ms >= a->end_ms) {
        agent_leave_with(a, a->exit_status);
    }
}

int64_t agent_deadline(const struct agent *a)
{
    if (a->state == AGENT_DONE) {
        return INT64_MAX;
    }
    int64_t at = agent_link_deadline(a);
    at = a->kill_ms < at ? a->kill_ms : at;
    return a->end_ms < at ? a->end_ms : at;
}
