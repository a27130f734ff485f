/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time passes: silence, progress lines, and every deadline.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void give_up_silent(struct member *m, struct member_node *n)
{
    bool may_have_workers =
        (member_node_is_placed(n) && n->state != MEMBER_NODE_STOPPED) || n->busy_round != 0;
    if (may_have_workers) {
        m->fence_ms = m->now_ms + m->node_timeout_ms / MEMBER_FENCE_OF_TIMEOUT;
    }
    double silent_s = (double)(m->now_ms - n->heard_ms) / 1e3;
    char why[512];
    if (n->is_away) {
        snprintf(why, sizeof(why), "%s, and it did not come back for %.1f s", n->away_why,
                 silent_s);
    } else {
        snprintf(why, sizeof(why), "not heard of for %.1f s", silent_s);
    }
    member_node_gone(m, n, why, CAUSE_OWN);
}

/* The moment a node that says nothing more is given up: known to the millisecond, so that its
 * agent, which counts the same time, has stopped its workers when others take its place. */
static void check_silence(struct member *m)
{
    m->next_silence_ms = INT64_MAX;
    for (uint32_t i = 0; i < m->node_count && m->state != MEMBER_ENDED; i++) {
        struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n)) {
            continue;
        }
        if (m->now_ms - n->heard_ms >= m->node_timeout_ms) {
            give_up_silent(m, n);
        } else {
            m->next_silence_ms = min_ms(m->next_silence_ms, n->heard_ms + m->node_timeout_ms);
        }
    }
}

/*
 * Did this process itself stand still (stopped, swapped out)? Then nobody could be heard, and what
 * the nodes have sent meanwhile waits to be read: their time begins anew.
 */
static void check_absence(struct member *m)
{
    int64_t due_ms = min_ms(m->next_pulse_ms, m->next_silence_ms);
    if (m->now_ms - due_ms <= m->node_timeout_ms / 2) {
        return;
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        m->nodes[i]->heard_ms = m->now_ms;
    }
    int64_t patience_ms = m->now_ms + MEMBER_KILL_ALLOWANCE_MS;
    if (m->state == MEMBER_STOPPING && m->state_deadline_ms < patience_ms) {
        m->state_deadline_ms = patience_ms;
    }
    m->busy_deadline_ms = m->busy_deadline_ms < patience_ms ? patience_ms : m->busy_deadline_ms;
}

static void send_waiting(struct member *m)
{
    m->next_waiting_ms = m->now_ms + MEMBER_WAITING_EVERY_MS;
    m->said_waiting_ms = m->now_ms;
    char *text = member_text_waiting(m);
    const struct member_node *lead = member_lead(m);
    for (uint32_t i = 0; i < m->node_count; i++) {
        struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n) || (n != lead && n->was_told_waiting)) {
            continue;
        }
        n->was_told_waiting = true;
        struct ctl_msg msg = {.type = CTL_WAITING,
                              .waiting = {.joined = m->live_count,
                                          .needed = m->policy.max_nodes,
                                          .is_lead = n == lead}};
        struct member_effect *e = member_send(m, n, &msg);
        e->text = mu_strdup(text);
        e->msg.waiting.text = mu_slice_of(e->text);
    }
    free(text);
}

/* Nodes that were told to stop and did not are lost: the others must not wait for them. */
static void give_up_stopping(struct member *m)
{
    m->state_deadline_ms = INT64_MAX;
    for (uint32_t i = 0; i < m->node_count && m->state == MEMBER_STOPPING; i++) {
        struct member_node *n = m->nodes[i];
        if (member_node_is_live(n) && member_node_is_placed(n) && n->state != MEMBER_NODE_STOPPED) {
            member_node_gone(m, n, "did not stop its workers in time", CAUSE_COLLATERAL);
        }
    }
    member_round_check(m);
}

/* The same for newcomers that still have workers of a round before. */
static void give_up_busy(struct member *m)
{
    m->busy_deadline_ms = INT64_MAX;
    for (uint32_t i = 0; i < m->node_count && m->state != MEMBER_ENDED; i++) {
        struct member_node *n = m->nodes[i];
        if (!member_node_is_live(n) || n->busy_round == 0 || n->is_stuck) {
            continue;
        }
        if (m->now_ms >= n->busy_deadline_ms) {
            member_node_gone(m, n, "did not stop the workers it came with in time",
                             CAUSE_COLLATERAL);
        } else {
            m->busy_deadline_ms = min_ms(m->busy_deadline_ms, n->busy_deadline_ms);
        }
    }
}

int64_t member_clear_ms(const struct member *m)
{
    int64_t at = m->busy_deadline_ms;
    at = m->away_count > 0 ? min_ms(at, m->next_silence_ms) : at;
    return m->fence_ms != 0 ? min_ms(at, m->fence_ms) : at;
}

static void pass_fence(struct member *m)
{
    if (m->fence_ms == 0 || m->now_ms < m->fence_ms) {
        return;
    }
    m->fence_ms = 0;
    if (m->state == MEMBER_FORMING) {
        member_form_try(m);
    }
}

void member_tick(struct member *m, int64_t now_ms)
{
    m->now_ms = now_ms;
    if (m->state == MEMBER_ENDED || !m->is_configured) {
        return;
    }
    check_absence(m);
    if (now_ms >= m->next_silence_ms) {
        check_silence(m);
    }
    if (now_ms >= m->next_pulse_ms) {
        m->next_pulse_ms = now_ms + member_heartbeat_ms(m);
    }
    pass_fence(m);
    if (now_ms >= m->busy_deadline_ms) {
        give_up_busy(m);
    }
    if (now_ms >= m->grow_ms) {
        member_grow_check(m);
    }
    if (m->state == MEMBER_FORMING && now_ms >= m->last_call_end_ms) {
        member_form_try(m);
    }
    if (m->state == MEMBER_FORMING && now_ms >= m->state_deadline_ms) {
        member_form_expire(m);
    }
    if (m->state == MEMBER_FORMING && now_ms >= m->next_waiting_ms) {
        send_waiting(m);
    }
    if (m->state == MEMBER_STOPPING && now_ms >= m->state_deadline_ms) {
        give_up_stopping(m);
    }
}

int64_t member_deadline(const struct member *m)
{
    int64_t at = min_ms(min_ms(m->next_pulse_ms, m->next_silence_ms), m->busy_deadline_ms);
    at = m->fence_ms != 0 ? min_ms(at, m->fence_ms) : at;
    switch (m->state) {
    case MEMBER_FORMING:
        at = min_ms(at, min_ms(m->next_waiting_ms, m->state_deadline_ms));
        return member_is_clear(m) ? min_ms(at, m->last_call_end_ms) : at;
    case MEMBER_RUNNING:
        return min_ms(at, m->grow_ms);
    case MEMBER_STOPPING:
        return min_ms(at, m->state_deadline_ms);
    case MEMBER_ENDED:
        break;
    }
    return INT64_MAX;
}
