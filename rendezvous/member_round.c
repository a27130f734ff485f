/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a round once it runs: stopping, and the end of the job.
 */
#include "rendezvous/member_impl.h"

#include "muster/job_report.h"
#include "muster/mem.h"

/*
 * The agent that speaks for the job on a terminal: the one that hosts the coordinator, else the
 * live node with the lowest rank, else the one that came first. NULL if no node is left.
 */
const struct member_node *member_lead(const struct member *m)
{
    const struct member_node *lead = NULL;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n)) {
            continue;
        }
        if (m->config.embedded_agent != 0 && n->agent_id == m->config.embedded_agent) {
            return n;
        }
        bool is_lower = lead != NULL && member_node_is_placed(n) &&
                        (!member_node_is_placed(lead) || n->node_rank < lead->node_rank);
        if (lead == NULL || is_lower) {
            lead = n;
        }
    }
    return lead;
}

/* ---- stopping ---- */

void member_stop_again(struct member *m, const struct member_node *n)
{
    int64_t grace_ms = m->round_kill_ms > m->now_ms ? m->round_kill_ms - m->now_ms : 0;
    struct ctl_msg msg = {
        .type = CTL_STOP,
        .stop = {.round = m->round, .signo = m->round_signo, .grace_ms = grace_ms}};
    struct member_effect *e = member_send(m, n, &msg);
    e->text = mu_strdup(m->round_why);
    e->msg.stop.reason = mu_slice_of(e->text);
}

void member_stop_round(struct member *m, int signo, const char *why)
{
    int64_t grace_ms = signo == SIGKILL ? 0 : m->grace_ms;
    int64_t deadline_ms = m->now_ms + grace_ms + MEMBER_KILL_ALLOWANCE_MS;
    m->grow_ms = INT64_MAX; /* a last call ends with its round */
    m->round_signo = signo;
    m->round_kill_ms = m->now_ms + grace_ms;
    free(m->round_why);
    m->round_why = mu_strdup(why);
    if (m->state == MEMBER_RUNNING) {
        member_goto(m, MEMBER_STOPPING);
        m->state_deadline_ms = deadline_ms;
    } else if (deadline_ms < m->state_deadline_ms) {
        m->state_deadline_ms = deadline_ms; /* a second order never gives more time */
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n) || !member_node_is_placed(n) ||
            n->state == MEMBER_NODE_STOPPED) {
            continue;
        }
        n->state = MEMBER_NODE_STOPPING;
        member_stop_again(m, n);
    }
    member_record(m, MU_LOG_INFO, EVENT_STOPPING, NULL, "stopping round %u: %s", m->round, why);
}

/* Each look goes on where the one before ended: a node that has stopped, or is gone, stays so until
 * the round is over. */
static bool is_round_over(struct member *m)
{
    for (; m->over_count < m->node_count; m->over_count++) {
        const struct member_node *n = m->nodes[m->over_count];
        if (member_node_is_placed(n) && member_node_is_live(n) && n->state != MEMBER_NODE_STOPPED) {
            return false;
        }
    }
    return true;
}

static bool is_success(const struct member *m)
{
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        for (uint32_t w = 0; member_node_is_placed(n) && w < n->slots; w++) {
            const struct member_worker *worker = &n->workers[w];
            if (!outcome_is_success(worker->outcome) || worker->was_stopped) {
                return false;
            }
        }
    }
    return true;
}

void member_round_check(struct member *m)
{
    if ((m->state != MEMBER_RUNNING && m->state != MEMBER_STOPPING) || !is_round_over(m)) {
        return;
    }
    /* A coordinator in an agent leaves with it at the end: who may come back would find nobody. */
    if (m->away_count > 0 && m->config.embedded_agent != 0) {
        return;
    }
    if (m->stop_signo != 0) {
        member_end(m, 128 + m->stop_signo);
    } else if (!m->failure.is_set && is_success(m)) {
        member_end(m, 0);
    } else if (m->is_growing && !m->failure.is_set) {
        restart_note_progress(&m->history);
        member_form_begin(m);
        member_form_try(m);
    } else if (m->state == MEMBER_STOPPING) {
        member_decide(m);
    }
}

/* ---- ending ---- */

/* Whose worker brought the job down, as END tells it to a node. */
static int32_t culprit_for(const struct member *m, const struct member_node *n)
{
    const struct member_failure *f = &m->failure;
    if (!f->is_set || f->is_node || m->stop_signo != 0) {
        return CTL_CULPRIT_NONE;
    }
    return f->node == n->id ? (int32_t)f->local_rank : CTL_CULPRIT_ELSEWHERE;
}

/* `text` is for people, `json` the report for who asked for it; either may be NULL. */
static void send_end(struct member *m, const struct member_node *n, const char *text,
                     bool is_report, const char *json)
{
    size_t text_len = text != NULL ? strlen(text) : 0;
    struct ctl_msg msg = {.type = CTL_END,
                          .end = {.exit_status = m->exit_status,
                                  .is_report = is_report,
                                  .culprit = culprit_for(m, n)}};
    struct member_effect *e = member_send(m, n, &msg);
    e->text = mu_asprintf("%s%s", text != NULL ? text : "", json != NULL ? json : "");
    e->msg.end.text = (struct mu_slice){.ptr = e->text, .len = text_len};
    e->msg.end.report = mu_slice_of(e->text + text_len);
}

void member_end_again(struct member *m, const struct member_node *n)
{
    char *summary = member_text_summary(m);
    struct member_view view = member_look(m);
    char *json = n->wants_report ? job_report_text(&view, summary) : NULL;
    send_end(m, n, m->exit_status == 0 ? NULL : summary, false, json);
    free(json);
    free(summary);
}

void member_end(struct member *m, int exit_status)
{
    m->exit_status = exit_status;
    char *report = member_text_report(m);
    char *summary = member_text_summary(m);
    const struct member_node *lead = member_lead(m);
    member_goto(m, MEMBER_ENDED);
    m->state_deadline_ms = INT64_MAX;
    member_note(m, EVENT_END, NULL, summary);
    struct member_view view = member_look(m);
    char *json = NULL;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n)) {
            continue;
        }
        if (n->wants_report && json == NULL) {
            json = job_report_text(&view, summary);
        }
        bool is_report = n == lead && report != NULL;
        const char *text = exit_status == 0 ? NULL : is_report ? report : summary;
        send_end(m, n, text, is_report, n->wants_report ? json : NULL);
    }
    struct member_effect *over = member_effect_add(m, MEMBER_OVER);
    over->exit_status = exit_status;
    over->text = mu_strdup(report != NULL ? report : summary);
    free(json);
    free(report);
    free(summary);
}
