/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a failure: another round, or the end? The rules are in restart_policy.c; here they are
 * asked, told of and carried out.
 */
#include "rendezvous/member_impl.h"

#include "muster/mem.h"

/* A node that is the culprit and will not be in the next round: at most once for each node. */
static bool has_lost_culprit(const struct member *m)
{
    if (!m->failure.is_node) {
        return false;
    }
    for (uint32_t i = 0; i < m->node_count; i++) {
        const struct member_node *n = m->nodes[i];
        if (n->id == m->failure.node) {
            return !member_node_is_live(n) || n->is_stuck;
        }
    }
    return true;
}

/* From the start of the round's last worker to the moment it was stopped; -1: not all started. */
static int64_t uptime_ms(const struct member *m)
{
    if (m->is_adopted) {
        return INT64_MAX; /* it was running long before we were */
    }
    uint32_t placed = 0;
    for (uint32_t i = 0; i < m->node_count; i++) {
        placed += member_node_is_placed(m->nodes[i]);
    }
    return m->started_count >= placed ? m->state_since_ms - m->last_started_ms : -1;
}

static void tell(struct member *m, const struct restart_decision *d)
{
    mu_autofree char *failure = member_text_failure_and_cause(m);
    mu_autofree char *none = mu_asprintf("not restarted: %s", d->why);
    const char *also = d->why[0] != '\0' ? "; " : "";
    char window[48] = "";
    switch (d->verdict) {
    case RESTART_GO_ON:
        member_record(m, MU_LOG_NOTICE, EVENT_GO_ON, NULL, "going on with %u nodes: %s",
                      member_places(m), failure);
        break;
    case RESTART_FREE:
        member_record(m, MU_LOG_NOTICE, EVENT_FREE_RESTART, NULL, "restart: %s%s%s", failure, also,
                      d->why);
        break;
    case RESTART_COUNTED:
        if (m->policy.restart_window_ms > 0) {
            char span[32];
            restart_span_text(m->policy.restart_window_ms, span, sizeof(span));
            snprintf(window, sizeof(window), " within %s", span);
        }
        member_record(m, MU_LOG_NOTICE, EVENT_RESTART, NULL, "restart %u of %u%s: %s%s%s",
                      restart_used(&m->history, &m->policy, m->now_ms), m->policy.max_restarts,
                      window, failure, also, d->why);
        break;
    case RESTART_NONE:
        member_note(m, EVENT_NO_RESTART, NULL, none);
        break;
    }
}

void member_decide(struct member *m)
{
    uint32_t usable = member_usable(m);
    struct restart_case c = {.failure = &m->failure,
                             .uptime_ms = uptime_ms(m),
                             .is_lost_node = has_lost_culprit(m),
                             .is_from_other = m->is_adopted,
                             .has_enough = usable >= m->policy.min_nodes};
    struct restart_decision d = restart_decide(&m->history, &m->policy, &c, m->now_ms);
    tell(m, &d);
    if (d.verdict == RESTART_NONE) {
        m->no_restart_why = d.is_notable ? mu_strdup(d.why) : NULL;
        member_end(m, member_failure_status(&m->failure));
        return;
    }
    member_form_begin(m);
    if (!c.has_enough) {
        char span[32];
        restart_span_text(m->join_timeout_ms, span, sizeof(span));
        member_record(m, MU_LOG_INFO, EVENT_WAITING, NULL, "waiting up to %s for %u more node%s",
                      span, m->policy.min_nodes - usable,
                      m->policy.min_nodes - usable == 1 ? "" : "s");
    }
    member_form_try(m);
}
