/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running job gets bigger: what becomes of nodes that join it, as `--scale-up` says.
 *
 * With `now`, a round on fewer than MAX nodes is stopped as soon as MAX would be there, else when
 * the last call, counted from the first newcomer, is over; the next one begins with everybody. That
 * is no failure and costs no restart. It waits for nobody and undoes nothing:
 *
 *  - A newcomer that is lost during the last call is not counted; without any there is no new
 * round.
 *  - Once a worker has ended with success the job is about to end: the round is left alone.
 *  - A failure, a lost node or a stop signal before the round has stopped counts as it always does;
 *    the newcomer is in the next round, if there is one.
 *  - While a node is away (member_session.c) nothing is begun: it would have to be waited for.
 *  - Workers that fail because of the stop (told to, or peers gone) are no failures.
 *  - The job has succeeded only if all workers ended with 0 before they were told to stop: one that
 *    saves its state at SIGTERM and ends with 0 has work left. Else all run again.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"

enum { NAMES_SHOWN = 8 };

/* It has no place, and could have one at once. */
static bool is_ready(const struct member_node *n)
{
    return member_node_is_live(n) && !member_node_is_placed(n) && !n->is_stuck &&
           n->busy_round == 0;
}

static uint32_t count_ready(const struct member *m)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        count += is_ready(m->nodes[i]);
    }
    return count;
}

/* Could this round be followed by a bigger one for no other reason? */
static bool may_grow(const struct member *m)
{
    return m->state == MEMBER_RUNNING && m->policy.scale_up == JOB_SCALE_UP_NOW &&
           m->node_places < m->policy.max_nodes && !m->has_finished && m->away_count == 0;
}

static void grow(struct member *m, uint32_t ready)
{
    struct mu_buf why = {0};
    uint32_t shown = 0;
    for (uint32_t i = 0; i < m->node_count && shown < NAMES_SHOWN; i++) {
        if (is_ready(m->nodes[i])) {
            mu_buf_printf(&why, "%s%s", shown++ > 0 ? ", " : "", m->nodes[i]->name);
        }
    }
    if (ready > shown) {
        mu_buf_printf(&why, " and %u more", ready - shown);
    }
    mu_buf_printf(&why, " joined: a new round with %u nodes instead of %u, which costs no restart",
                  member_places(m), m->node_places);
    mu_autofree char *text = mu_buf_take_text(&why);
    member_record(m, MU_LOG_NOTICE, EVENT_SCALE_UP, NULL, "%s", text);
    m->is_growing = true;
    m->grow_ms = INT64_MAX;
    member_stop_round(m, SIGTERM, text);
}

void member_grow_check(struct member *m)
{
    uint32_t ready = may_grow(m) ? count_ready(m) : 0;
    if (ready == 0) {
        m->grow_ms = INT64_MAX;
        return;
    }
    if (m->grow_ms == INT64_MAX) {
        m->grow_ms = m->now_ms + m->last_call_ms;
    }
    if (m->node_places + ready >= m->policy.max_nodes || m->now_ms >= m->grow_ms) {
        grow(m, ready);
    }
}

void member_tell_spare(struct member *m, const struct member_node *n)
{
    struct ctl_msg msg = {.type = CTL_WAITING,
                          .waiting = {.joined = m->live_count, .needed = m->policy.max_nodes}};
    struct member_effect *e = member_send(m, n, &msg);
    if (m->grow_ms != INT64_MAX) {
        e->text =
            mu_asprintf("job '%s' runs on %u nodes; %s will be in a new round in %lld s, or "
                        "once %u nodes are there",
                        m->run_id, m->node_places, n->name,
                        (long long)(m->grow_ms - m->now_ms + 999) / 1000, m->policy.max_nodes);
    } else if (m->policy.scale_up != JOB_SCALE_UP_NEVER && m->node_places < m->policy.max_nodes) {
        e->text = mu_asprintf("job '%s' runs on %u nodes; %s waits for its next round", m->run_id,
                              m->node_places, n->name);
    } else {
        e->text = mu_asprintf("job '%s' runs on other nodes; %s stands by to take the place of one",
                              m->run_id, n->name);
    }
    e->msg.waiting.text = mu_slice_of(e->text);
    member_record(m, MU_LOG_INFO, EVENT_SPARE, n, "%s stands by", n->name);
}
