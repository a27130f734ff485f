/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a round: forming, assigning ranks, stopping, and the end of the job.
 */
#include "rendezvous/member_impl.h"

#include "muster/job_report.h"
#include "muster/mem.h"
#include "rendezvous/rank_assign.h"

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

/* ---- forming ---- */

void member_form_begin(struct member *m)
{
    if (m->state != MEMBER_FORMING) {
        member_goto(m, MEMBER_FORMING);
    }
    m->state_since_ms = m->now_ms;
    m->state_deadline_ms = m->now_ms + m->join_timeout_ms;
    m->last_call_end_ms = INT64_MAX;
    m->next_waiting_ms = m->now_ms + MEMBER_WAITING_FIRST_MS;
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct member_node *n = m->nodes[i];
        n->previous_rank = n->node_rank;
        n->node_rank = RANK_NONE;
        n->was_told_waiting = false;
        if (member_node_is_live(n)) {
            n->state = n->busy_round != 0 ? MEMBER_NODE_STOPPING : MEMBER_NODE_JOINED;
        }
    }
}

/* Blocks of ranks in the order of nodes; the same among the nodes of each role. */
static uint32_t number_ranks(struct member_node *const *placed, uint32_t count)
{
    uint32_t world = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct member_node *n = placed[i];
        n->first_rank = world;
        world += n->slots;
        n->role_first_rank = 0;
        /* From the nearest node of the same role before this one; usually the neighbour. */
        for (uint32_t j = i; j-- > 0;) {
            if (strcmp(placed[j]->role, n->role) == 0) {
                n->role_first_rank = placed[j]->role_first_rank + placed[j]->slots;
                break;
            }
        }
    }
    return world;
}

static uint32_t role_world(struct member_node *const *placed, uint32_t count, uint32_t of)
{
    for (uint32_t j = count; j-- > 0;) {
        if (strcmp(placed[j]->role, placed[of]->role) == 0) {
            return placed[j]->role_first_rank + placed[j]->slots;
        }
    }
    return 0;
}

static void send_assignments(struct member *m, struct member_node *const *placed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct member_node *n = placed[i];
        n->state = MEMBER_NODE_ASSIGNED;
        n->workers_exited = 0;
        memset(n->workers, 0, n->slots * sizeof(n->workers[0]));
        struct ctl_msg msg = {.type = CTL_ASSIGN,
                              .assign = {.round = m->round,
                                         .restart_count = m->restarts,
                                         .node_rank = i,
                                         .node_count = count,
                                         .first_rank = n->first_rank,
                                         .world_size = m->world_size,
                                         .role_first_rank = n->role_first_rank,
                                         .role_world_size = role_world(placed, count, i)}};
        member_send(m, n, &msg);
    }
}

void member_tell_spare(struct member *m, const struct member_node *n)
{
    struct ctl_msg msg = {.type = CTL_WAITING,
                          .waiting = {.joined = m->live_count, .needed = m->policy.max_nodes}};
    struct member_effect *e = member_send(m, n, &msg);
    e->text = mu_asprintf("job '%s' runs on other nodes; %s stands by to take the place of one",
                          m->run_id, n->name);
    e->msg.waiting.text = mu_slice_of(e->text);
    member_log(m, MU_LOG_INFO, "%s stands by as a spare", n->name);
}

static void assign(struct member *m)
{
    uint32_t usable = member_usable(m);
    mu_autofree struct rank_candidate *candidates = mu_calloc(usable, sizeof(*candidates));
    mu_autofree struct member_node **placed = mu_calloc(usable, sizeof(struct member_node *));
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (member_node_is_live(n) && !n->is_stuck) {
            candidates[count++] = (struct rank_candidate){.previous = n->previous_rank,
                                                          .wanted = n->wanted_rank,
                                                          .sched = n->sched_rank,
                                                          .name = n->name,
                                                          .pid = n->pid,
                                                          .id = i};
        }
    }
    uint32_t places = count < m->policy.max_nodes ? count : m->policy.max_nodes;
    rank_assign(candidates, count, places);
    for (uint32_t i = 0; i < places; i++) {
        placed[i] = m->nodes[candidates[i].id];
        placed[i]->node_rank = (int32_t)i;
    }
    m->round++;
    m->has_formed = true;
    m->world_size = number_ranks(placed, places);
    member_failure_clear(&m->failure);
    m->state_deadline_ms = INT64_MAX;
    member_goto(m, MEMBER_RUNNING);
    member_effect_add(m, MEMBER_NEW_ROUND)->round = m->round;
    send_assignments(m, placed, places);
    for (uint32_t i = places; i < count; i++) {
        member_tell_spare(m, m->nodes[candidates[i].id]);
    }
    member_log(m, MU_LOG_INFO, "job '%s' round %u: %u nodes, %u workers, restart %u of %u",
               m->run_id, m->round, places, m->world_size, m->restarts, m->policy.max_restarts);
}

void member_form_try(struct member *m)
{
    uint32_t usable = member_usable(m);
    if (usable < m->policy.min_nodes) {
        m->last_call_end_ms = INT64_MAX;
        return;
    }
    if (m->last_call_end_ms == INT64_MAX) {
        int64_t end_ms = m->now_ms + m->last_call_ms;
        m->last_call_end_ms = end_ms < m->state_deadline_ms ? end_ms : m->state_deadline_ms;
    }
    if (m->busy_count > 0) {
        return; /* no round begins while workers of another are alive */
    }
    /* Only the first round waits for more than MIN: later ones go on with whoever is left. */
    if (usable >= m->policy.max_nodes || m->has_formed || m->now_ms >= m->last_call_end_ms) {
        assign(m);
    }
}

void member_form_expire(struct member *m)
{
    if (m->busy_count > 0 && member_usable(m) >= m->policy.min_nodes) {
        m->state_deadline_ms = m->busy_deadline_ms; /* all are here, some not quite ready */
        return;
    }
    member_end(m, member_failure_status(&m->failure));
}

/* ---- stopping ---- */

void member_stop_round(struct member *m, int signo, const char *why)
{
    int64_t grace_ms = signo == SIGKILL ? 0 : m->grace_ms;
    int64_t deadline_ms = m->now_ms + grace_ms + MEMBER_KILL_ALLOWANCE_MS;
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
        struct ctl_msg msg = {.type = CTL_STOP,
                              .stop = {.round = m->round, .signo = signo, .grace_ms = grace_ms}};
        struct member_effect *e = member_send(m, n, &msg);
        e->text = mu_strdup(why);
        e->msg.stop.reason = mu_slice_of(e->text);
    }
    member_log(m, MU_LOG_INFO, "stopping round %u: %s", m->round, why);
}

static bool is_round_over(const struct member *m, bool *ret_is_success)
{
    bool is_success = true;
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (!member_node_is_placed(n)) {
            continue;
        }
        if (member_node_is_live(n) && n->state != MEMBER_NODE_STOPPED) {
            return false;
        }
        for (uint32_t w = 0; is_success && w < n->slots; w++) {
            is_success = outcome_is_success(n->workers[w].outcome);
        }
    }
    *ret_is_success = is_success;
    return true;
}

void member_round_check(struct member *m)
{
    bool is_success = false;
    if ((m->state != MEMBER_RUNNING && m->state != MEMBER_STOPPING) ||
        !is_round_over(m, &is_success)) {
        return;
    }
    if (m->stop_signo != 0) {
        member_end(m, 128 + m->stop_signo);
    } else if (is_success && !m->failure.is_set) {
        member_end(m, 0);
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

void member_end(struct member *m, int exit_status)
{
    m->exit_status = exit_status;
    char *report = member_text_report(m);
    char *summary = member_text_summary(m);
    const struct member_node *lead = member_lead(m);
    member_goto(m, MEMBER_ENDED);
    m->state_deadline_ms = INT64_MAX;
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
