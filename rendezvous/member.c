/* SPDX-License-Identifier: Apache-2.0 */
#include "rendezvous/member_impl.h"

#include "muster/limits.h"
#include "muster/mem.h"
#include "rendezvous/rank_assign.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    EFFECTS_KEPT = 1024
}; /* room for so many; more is for a moment, when all are told something */

const char *member_state_name(enum member_state state)
{
    static const char *const names[] = {
        [MEMBER_FORMING] = "forming",
        [MEMBER_RUNNING] = "running",
        [MEMBER_STOPPING] = "stopping",
        [MEMBER_ENDED] = "ended",
    };
    return names[state];
}

const char *member_node_state_name(enum member_node_state state)
{
    static const char *const names[] = {
        [MEMBER_NODE_JOINED] = "joined",   [MEMBER_NODE_ASSIGNED] = "starting",
        [MEMBER_NODE_RUNNING] = "running", [MEMBER_NODE_STOPPING] = "stopping",
        [MEMBER_NODE_STOPPED] = "stopped", [MEMBER_NODE_GONE] = "gone",
    };
    return names[state];
}

struct member *member_new(struct mu_slice run_id, const struct member_config *config)
{
    struct member *m = mu_alloc(sizeof(*m));
    m->config = *config;
    m->run_id = mu_slice_dup(run_id);
    m->state = MEMBER_FORMING;
    m->state_deadline_ms = INT64_MAX;
    m->last_call_end_ms = INT64_MAX;
    m->grow_ms = INT64_MAX;
    m->next_waiting_ms = INT64_MAX;
    m->next_pulse_ms = INT64_MAX;
    m->next_silence_ms = INT64_MAX;
    m->busy_deadline_ms = INT64_MAX;
    member_index_init(&m->index, config->seed);
    return m;
}

void member_node_free(struct member_node *n)
{
    free(n->name);
    free(n->role);
    free(n->address);
    free(n->away_why);
    free(n->workers);
    free(n);
}

void member_free(struct member *m)
{
    if (m == NULL) {
        return;
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        if (member_node_is_live(m->nodes[i])) {
            member_index_take(&m->index, m->nodes[i]);
        }
        member_node_free(m->nodes[i]);
    }
    member_index_fini(&m->index);
    for (uint32_t i = 0; i < m->effect_count; i++) {
        free(m->effects[i].text);
    }
    for (size_t i = 0; i < MEMBER_NOTED_REFUSALS; i++) {
        free(m->refusals[i]);
    }
    for (size_t i = 0; i < MEMBER_NOTED_GONE; i++) {
        free(m->gone[i]);
    }
    member_missing_clear(m);
    member_failure_clear(&m->failure);
    restart_history_fini(&m->history);
    event_ring_fini(&m->events);
    free(m->no_restart_why);
    free(m->stop_why);
    free(m->round_why);
    free(m->nodes);
    free(m->effects);
    free(m->run_id);
    free(m);
}

/* ---- effects ---- */

struct member_effect *member_effect_add(struct member *m, enum member_effect_kind kind)
{
    if (m->effect_count == m->effect_cap) {
        m->effect_cap = m->effect_cap > 0 ? 2 * m->effect_cap : 16;
        m->effects = mu_realloc(m->effects, m->effect_cap * sizeof(m->effects[0]));
    }
    struct member_effect *e = &m->effects[m->effect_count++];
    *e = (struct member_effect){.kind = kind};
    return e;
}

struct member_effect *member_send(struct member *m, const struct member_node *n,
                                  const struct ctl_msg *msg)
{
    struct member_effect *e = member_effect_add(m, MEMBER_SEND);
    e->node = n->id;
    e->msg = *msg;
    return e;
}

static const char *log_text(struct member *m, enum mu_log_level level, const char *fmt,
                            va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, args);
    struct member_effect *e = member_effect_add(m, MEMBER_LOG);
    e->level = level;
    e->text = mu_strdup(text);
    return e->text;
}

void member_log(struct member *m, enum mu_log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_text(m, level, fmt, args);
    va_end(args);
}

void member_record(struct member *m, enum mu_log_level level, enum event_kind kind,
                   const struct member_node *n, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = log_text(m, level, fmt, args);
    va_end(args);
    member_note(m, kind, n, text);
}

void member_note(struct member *m, enum event_kind kind, const struct member_node *n,
                 const char *text)
{
    event_ring_add(&m->events, m->now_ms, m->round, kind, n != NULL ? n->name : NULL, text);
}

const struct member_effect *member_take(struct member *m)
{
    if (m->effect_head > 0) {
        free(m->effects[m->effect_head - 1].text);
        m->effects[m->effect_head - 1].text = NULL;
    }
    if (m->effect_head == m->effect_count) {
        m->effect_head = 0;
        m->effect_count = 0;
        if (m->effect_cap > EFFECTS_KEPT) {
            free(m->effects);
            m->effects = NULL;
            m->effect_cap = 0;
        }
        return NULL;
    }
    return &m->effects[m->effect_head++];
}

void member_goto(struct member *m, enum member_state state)
{
    static const unsigned allowed[] = {
        [MEMBER_FORMING] = 1U << MEMBER_FORMING | 1U << MEMBER_RUNNING | 1U << MEMBER_ENDED,
        [MEMBER_RUNNING] = 1U << MEMBER_STOPPING | 1U << MEMBER_ENDED,
        [MEMBER_STOPPING] = 1U << MEMBER_FORMING | 1U << MEMBER_ENDED,
        [MEMBER_ENDED] = 0,
    };
    MU_REQUIRE((allowed[m->state] & 1U << state) != 0);
    member_log(m, MU_LOG_DEBUG, "job '%s': %s -> %s", m->run_id, member_state_name(m->state),
               member_state_name(state));
    m->state = state;
    m->state_since_ms = m->now_ms;
}

void member_note_refused(struct member *m, const char *address, const char *why)
{
    free(m->refusals[0]);
    memmove(&m->refusals[0], &m->refusals[1], sizeof(m->refusals) - sizeof(m->refusals[0]));
    m->refusals[MEMBER_NOTED_REFUSALS - 1] = mu_asprintf("%s: %s", address, why);
}

/* ---- messages ---- */

struct member_node *member_find_node(const struct member *m, uint32_t id)
{
    uint32_t low = 0;
    uint32_t high = m->node_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (m->nodes[mid]->id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < m->node_count && m->nodes[low]->id == id ? m->nodes[low] : NULL;
}

static int on_started(struct member *m, struct member_node *n, const struct ctl_started *s,
                      struct mu_err *err)
{
    if (s->pids.len != (size_t)n->slots * sizeof(uint32_t)) {
        return mu_err_set(err, MU_E_PROTOCOL, 0, "STARTED with %zu bytes of pids for %u workers",
                          s->pids.len, n->slots);
    }
    struct mu_reader r = mu_reader_of(s->pids.ptr, s->pids.len);
    for (uint32_t i = 0; i < n->slots; i++) {
        n->workers[i].pid = mu_read_u32(&r);
    }
    if (n->state == MEMBER_NODE_ASSIGNED) {
        n->state = MEMBER_NODE_RUNNING;
        m->started_count++;
        m->last_started_ms = m->now_ms;
    }
    return 0;
}

/* The processes of a round are gone, or (`left`) cannot be killed: then nothing is started there.
 */
static void set_stopped(struct member *m, struct member_node *n, const struct ctl_stopped *s)
{
    if (n->is_stuck) {
        m->stuck_count--;
    } else if (n->busy_round != 0) {
        m->busy_count--;
    }
    n->is_stuck = s->left > 0;
    n->busy_round = n->is_stuck ? s->round : 0;
    if (n->is_stuck) {
        m->stuck_count++;
        member_record(m, MU_LOG_WARN, EVENT_STUCK, n,
                      "%s: %u processes of round %u could not be killed; it gets no "
                      "ranks until they are gone",
                      n->name, s->left, s->round);
    }
}

/* Did workers end because they were told to, or without a word? */
static bool is_unfinished(const struct member_node *n)
{
    bool was_stopped = n->workers_exited < n->slots;
    for (uint32_t i = 0; i < n->slots; i++) {
        was_stopped = was_stopped || n->workers[i].was_stopped;
    }
    return was_stopped;
}

static void on_stopped(struct member *m, struct member_node *n, const struct ctl_stopped *s)
{
    if (s->left > 0 || n->busy_round != 0) {
        set_stopped(m, n, s);
    }
    n->state = MEMBER_NODE_STOPPED;
    if (m->state == MEMBER_RUNNING && is_unfinished(n) && m->stop_signo == 0) {
        member_node_failed(m, n, "its agent stopped the workers", CAUSE_OWN);
    }
    member_round_check(m);
}

/* Of a round that is no longer, or not of this coordinator: the node may have ranks again. */
static void on_old_stopped(struct member *m, struct member_node *n, const struct ctl_stopped *s)
{
    if (n->busy_round == 0 || s->round != n->busy_round) {
        return;
    }
    set_stopped(m, n, s);
    if (!member_node_is_placed(n)) {
        n->state = n->is_stuck ? MEMBER_NODE_STOPPING : MEMBER_NODE_JOINED;
    }
    if (m->state == MEMBER_FORMING) {
        member_form_try(m);
    }
    member_grow_check(m);
}

static void on_leave(struct member *m, struct member_node *n, const struct ctl_leave *l)
{
    char name[32];
    outcome_signal_name(l->signo, name, sizeof(name));
    char why[512];
    snprintf(why, sizeof(why), "%s on %s", name, n->name);
    bool is_host = m->config.embedded_agent != 0 && n->agent_id == m->config.embedded_agent;
    if (is_host || member_node_is_placed(n) || n->previous_rank != RANK_NONE) {
        member_stop(m, l->signo, why, m->now_ms);
    } else {
        member_node_gone(m, n, why, CAUSE_OWN);
    }
}

int member_message(struct member *m, uint32_t node, const struct ctl_msg *msg, int64_t now_ms,
                   struct mu_err *err)
{
    m->now_ms = now_ms;
    struct member_node *n = member_find_node(m, node);
    if (n == NULL || !member_node_is_live(n)) {
        return 0; /* given up already; its connection is being closed */
    }
    n->heard_ms = now_ms;
    /* A message about an earlier round crossed a decision of ours on the way. */
    bool is_current =
        member_node_is_placed(n) && (m->state == MEMBER_RUNNING || m->state == MEMBER_STOPPING);
    switch (msg->type) {
    case CTL_STARTED:
        return is_current && msg->started.round == m->round ? on_started(m, n, &msg->started, err)
                                                            : 0;
    case CTL_EXITED:
        return is_current && msg->exited.round == m->round
                   ? member_worker_exited(m, n, &msg->exited, err)
                   : 0;
    case CTL_STOPPED:
        if (is_current && msg->stopped.round == m->round) {
            on_stopped(m, n, &msg->stopped);
        } else {
            on_old_stopped(m, n, &msg->stopped);
        }
        return 0;
    case CTL_LEAVE:
        if (msg->leave.signo < 1 || msg->leave.signo > SIGRTMAX) {
            return mu_err_set(err, MU_E_PROTOCOL, 0, "LEAVE with signal %d", msg->leave.signo);
        }
        on_leave(m, n, &msg->leave);
        return 0;
    case CTL_HEARTBEAT:
        member_send(m, n, msg); /* the same again: see the lease in agent.h */
        return 0;
    case CTL_OWNED: /* for store_route.c; a sign of life here */
        return 0;
    case CTL_HELLO:
    case CTL_STATUS:
    case CTL_WELCOME:
    case CTL_REFUSED:
    case CTL_WAITING:
    case CTL_ASSIGN:
    case CTL_STOP:
    case CTL_END:
    case CTL_STATUS_REPLY:
    case CTL_WHOSE:
        break;
    }
    return mu_err_set(err, MU_E_PROTOCOL, 0, "%s is not for an agent to send now",
                      ctl_type_name(msg->type));
}

void member_lost(struct member *m, uint32_t node, bool is_closed, const char *why, int64_t now_ms)
{
    m->now_ms = now_ms;
    struct member_node *n = member_find_node(m, node);
    if (n == NULL || !member_node_is_live(n)) {
        return;
    }
    if (is_closed) {
        member_node_gone(m, n, why, CAUSE_OWN);
    } else {
        member_session_away(m, n, why);
    }
}

void member_stop(struct member *m, int signo, const char *why, int64_t now_ms)
{
    m->now_ms = now_ms;
    if (m->state == MEMBER_ENDED || (m->stop_signo != 0 && signo != SIGKILL)) {
        return;
    }
    if (m->stop_signo == 0) {
        m->stop_signo = signo;
        m->stop_why = mu_strdup(why);
    }
    if (m->state == MEMBER_FORMING) {
        member_end(m, 128 + signo);
    } else {
        member_stop_round(m, signo, why);
    }
}

/* ---- what can be seen ---- */

const struct member_node *member_get_node(const struct member *m, uint32_t id)
{
    return member_find_node(m, id);
}

struct member_view member_look(const struct member *m)
{
    return (struct member_view){
        .run_id = m->run_id,
        .state = m->state,
        .round = m->round,
        .is_adopted = m->is_adopted,
        .restarts = m->history.count,
        .restarts_used = restart_used(&m->history, &m->policy, m->now_ms),
        .max_restarts = m->policy.max_restarts,
        .min_nodes = m->policy.min_nodes,
        .max_nodes = m->policy.max_nodes,
        .world_size = m->world_size,
        .exit_status = m->exit_status,
        .state_since_ms = m->state_since_ms,
        .node_timeout_ms = m->node_timeout_ms,
        .failure = &m->failure,
        .no_restart_why = m->no_restart_why,
        .events = &m->events,
        .unix_offset_ms = m->config.unix_offset_ms,
        .nodes = m->nodes,
        .node_count = m->node_count,
        .member = m,
    };
}
